-- Every event of every task. Rows go in at the end of the table, so that a commit of many tasks touches few pages.
CREATE TABLE event (
  task TEXT NOT NULL REFERENCES task (id),
  seq  INTEGER NOT NULL CHECK (seq > 0),
  kind TEXT NOT NULL,
  at   INTEGER NOT NULL,
  body BLOB NOT NULL,
  link TEXT NOT NULL,
  PRIMARY KEY (task, seq)
) STRICT;

-- One row per task: the end of its stream, its summary, and the columns that lists and queues look at.
CREATE TABLE task (
  id           TEXT NOT NULL PRIMARY KEY,
  version      INTEGER NOT NULL,
  head         TEXT NOT NULL,
  status       TEXT NOT NULL CHECK (status IN ('QUEUED', 'CLAIMED', 'RUNNING', 'WAITING', 'RETRY_WAIT',
                                               'SUCCEEDED', 'FAILED', 'CANCELED', 'DEAD_LETTER')),
  rank         INTEGER NOT NULL,
  wake_at      INTEGER,
  session      TEXT NOT NULL,
  agent        TEXT NOT NULL,
  parent       TEXT,
  "by"         TEXT NOT NULL,
  "key"        TEXT NOT NULL,
  submitted_at INTEGER NOT NULL,
  updated_at   INTEGER NOT NULL,
  owner        TEXT NOT NULL,
  fence        INTEGER NOT NULL,
  lease_until  INTEGER NOT NULL,
  purged       INTEGER NOT NULL DEFAULT 0 CHECK (purged IN (0, 1)),
  asked        INTEGER NOT NULL CHECK (asked IN (0, 1)),
  summary      BLOB NOT NULL
) STRICT;

CREATE INDEX task_ready ON task (rank, id, agent, session) WHERE status = 'QUEUED';
CREATE INDEX task_due ON task (wake_at, id) WHERE wake_at IS NOT NULL;
CREATE INDEX task_held ON task (id) WHERE status IN ('CLAIMED', 'RUNNING');
CREATE INDEX task_open ON task (session, id)
  WHERE status IN ('QUEUED', 'CLAIMED', 'RUNNING', 'WAITING', 'RETRY_WAIT') AND session <> '';
CREATE INDEX task_status ON task (status, id);
CREATE INDEX task_session ON task (session, id) WHERE session <> '';
CREATE INDEX task_parent ON task (parent, id) WHERE parent IS NOT NULL;
CREATE INDEX task_asked ON task (id) WHERE asked = 1;
CREATE UNIQUE INDEX task_key ON task ("by", "key") WHERE "key" <> '';

-- What was overwritten, by whom and why.
CREATE TABLE purge (
  task   TEXT NOT NULL PRIMARY KEY,
  at     INTEGER NOT NULL,
  "by"   TEXT NOT NULL,
  reason TEXT NOT NULL
) STRICT;

-- Small facts about the store itself.
CREATE TABLE meta (
  name  TEXT NOT NULL PRIMARY KEY,
  value INTEGER NOT NULL
) STRICT;

INSERT INTO meta (name, value) VALUES ('failed_commits', 0);
