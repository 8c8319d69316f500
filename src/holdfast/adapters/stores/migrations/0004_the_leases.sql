-- One row per leave that a person gave beforehand; counted in the commits of the verdicts that use it.
CREATE TABLE lease (
  id      TEXT NOT NULL PRIMARY KEY,
  uses    INTEGER NOT NULL,
  used    INTEGER NOT NULL CHECK (used >= 0 AND (uses = 0 OR used <= uses)),
  revoked INTEGER NOT NULL CHECK (revoked IN (0, 1)),
  lease   TEXT NOT NULL
) STRICT;
