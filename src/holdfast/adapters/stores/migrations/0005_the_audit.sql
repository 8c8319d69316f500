-- What must be provable later. `body` is NULL where the content is gone; the hashes stay for ever.
-- No index: it is written in every commit, and looked through in threads that only read.
CREATE TABLE audit (
  seq  INTEGER NOT NULL PRIMARY KEY,
  at   INTEGER NOT NULL,
  task TEXT NOT NULL,
  leaf BLOB NOT NULL,
  hash BLOB NOT NULL,
  body BLOB
) STRICT;

-- `peaks`: the full parts of the tree at this size, so that opening needs not read all leaves.
CREATE TABLE checkpoint (
  size      INTEGER NOT NULL PRIMARY KEY,
  previous  INTEGER NOT NULL,
  at        INTEGER NOT NULL,
  root      BLOB NOT NULL,
  head      BLOB NOT NULL,
  key       BLOB NOT NULL,
  signature BLOB NOT NULL,
  peaks     BLOB NOT NULL
) STRICT;
