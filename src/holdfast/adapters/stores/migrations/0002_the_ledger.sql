-- One row per try of a model call: what was set aside for it, and what came of that.
CREATE TABLE charge (
  id          TEXT NOT NULL PRIMARY KEY,
  at          INTEGER NOT NULL,
  state       TEXT NOT NULL CHECK (state IN ('held', 'settled', 'doubtful')),
  task        TEXT NOT NULL,
  session     TEXT NOT NULL,
  agent       TEXT NOT NULL,
  team        TEXT NOT NULL,
  "by"        TEXT NOT NULL,
  role        TEXT NOT NULL,
  model       TEXT NOT NULL,
  most_tokens INTEGER NOT NULL,
  most_cost   INTEGER,
  cost        INTEGER,
  input       INTEGER NOT NULL,
  output      INTEGER NOT NULL,
  cache_read  INTEGER NOT NULL,
  cache_write INTEGER NOT NULL,
  reasoning   INTEGER NOT NULL,
  saved       INTEGER NOT NULL
) STRICT;

CREATE INDEX charge_at ON charge (at);
CREATE INDEX charge_task ON charge (task) WHERE task <> '';
CREATE INDEX charge_held ON charge (id) WHERE state = 'held';
CREATE INDEX charge_doubtful ON charge (at, id) WHERE state = 'doubtful';

-- What people added to a budget (or `price` of a model they allowed), by whom, each once.
CREATE TABLE top_up (
  once   TEXT NOT NULL PRIMARY KEY,
  scope  TEXT NOT NULL,
  of     TEXT NOT NULL,
  per    TEXT NOT NULL,
  since  TEXT NOT NULL,
  cost   INTEGER NOT NULL,
  tokens INTEGER NOT NULL,
  calls  INTEGER NOT NULL,
  "by"   TEXT NOT NULL,
  at     INTEGER NOT NULL
) STRICT;

CREATE INDEX top_up_period ON top_up (scope, per, since);

-- Which thresholds were crossed, so that each is told once.
CREATE TABLE warned (
  scope   TEXT NOT NULL,
  per     TEXT NOT NULL,
  since   TEXT NOT NULL,
  of      TEXT NOT NULL,
  percent INTEGER NOT NULL,
  at      INTEGER NOT NULL,
  PRIMARY KEY (scope, per, since, of, percent)
) STRICT;
