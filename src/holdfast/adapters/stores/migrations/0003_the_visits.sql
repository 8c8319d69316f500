-- One row per request to the outside, made or refused: written before it is made, again at its end.
CREATE TABLE visit (
  id       TEXT NOT NULL PRIMARY KEY,
  at       INTEGER NOT NULL,
  task     TEXT NOT NULL,
  agent    TEXT NOT NULL,
  tool     TEXT NOT NULL,
  kind     TEXT NOT NULL CHECK (kind IN ('proxy', 'fetch')),
  method   TEXT NOT NULL,
  host     TEXT NOT NULL,
  port     INTEGER NOT NULL,
  path     TEXT NOT NULL,
  address  TEXT NOT NULL,
  code     TEXT NOT NULL,
  status   INTEGER NOT NULL,
  sent     INTEGER NOT NULL,
  received INTEGER NOT NULL,
  secrets  TEXT NOT NULL,
  ended_at INTEGER
) STRICT;

CREATE INDEX visit_at ON visit (at);
CREATE INDEX visit_task ON visit (task, id);
CREATE INDEX visit_agent ON visit (agent, id);
CREATE INDEX visit_host ON visit (host, id);
CREATE INDEX visit_refused ON visit (id) WHERE code <> '';
