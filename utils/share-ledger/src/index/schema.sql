-- Version 1. Times are unix seconds, `since`, `best_at`, `last_share` and `at` unix milliseconds. Work is an INTEGER where it fits, else
-- a BLOB of 16 bytes, most significant first; both sort by value. `scope` is 0 for the pool (id 0), 1 for an account, 2 for a worker.

CREATE TABLE meta (
    -- One row.
    id INTEGER PRIMARY KEY CHECK (id = 0),
    -- Of the log that this is derived from.
    log_id INTEGER NOT NULL,
    -- Sequence number of the last batch that is in here.
    position INTEGER NOT NULL
);

CREATE TABLE account (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    since INTEGER NOT NULL,
    workers INTEGER NOT NULL,
    shares INTEGER NOT NULL,
    work NOT NULL,
    best REAL NOT NULL,
    best_at INTEGER NOT NULL,
    last_share INTEGER NOT NULL
);

CREATE TABLE worker (
    id INTEGER PRIMARY KEY,
    account INTEGER NOT NULL REFERENCES account,
    name TEXT NOT NULL,
    since INTEGER NOT NULL,
    shares INTEGER NOT NULL,
    work NOT NULL,
    best REAL NOT NULL,
    best_at INTEGER NOT NULL,
    last_share INTEGER NOT NULL,
    UNIQUE (account, name)
);

-- Sorted by time first: what is added lies together, and so does what is removed.
CREATE TABLE minute (
    start INTEGER NOT NULL, scope INTEGER NOT NULL, id INTEGER NOT NULL,
    shares INTEGER NOT NULL, work NOT NULL, best REAL NOT NULL,
    PRIMARY KEY (start, scope, id)
) WITHOUT ROWID;

CREATE TABLE hour (
    start INTEGER NOT NULL, scope INTEGER NOT NULL, id INTEGER NOT NULL,
    shares INTEGER NOT NULL, work NOT NULL, best REAL NOT NULL,
    PRIMARY KEY (start, scope, id)
) WITHOUT ROWID;

CREATE TABLE day (
    start INTEGER NOT NULL, scope INTEGER NOT NULL, id INTEGER NOT NULL,
    shares INTEGER NOT NULL, work NOT NULL, best REAL NOT NULL,
    PRIMARY KEY (start, scope, id)
) WITHOUT ROWID;

CREATE TABLE reason (id INTEGER PRIMARY KEY, code TEXT NOT NULL UNIQUE);

CREATE TABLE minute_rejects (
    start INTEGER NOT NULL, scope INTEGER NOT NULL, id INTEGER NOT NULL, reason INTEGER NOT NULL REFERENCES reason,
    count INTEGER NOT NULL,
    PRIMARY KEY (start, scope, id, reason)
) WITHOUT ROWID;

CREATE TABLE hour_rejects (
    start INTEGER NOT NULL, scope INTEGER NOT NULL, id INTEGER NOT NULL, reason INTEGER NOT NULL REFERENCES reason,
    count INTEGER NOT NULL,
    PRIMARY KEY (start, scope, id, reason)
) WITHOUT ROWID;

CREATE TABLE day_rejects (
    start INTEGER NOT NULL, scope INTEGER NOT NULL, id INTEGER NOT NULL, reason INTEGER NOT NULL REFERENCES reason,
    count INTEGER NOT NULL,
    PRIMARY KEY (start, scope, id, reason)
) WITHOUT ROWID;

CREATE TABLE block (
    hash BLOB PRIMARY KEY,
    height INTEGER NOT NULL,
    -- NULL until its find is in here.
    worker INTEGER,
    value INTEGER,
    reached REAL,
    found_at INTEGER,
    state TEXT NOT NULL,
    depth INTEGER NOT NULL
) WITHOUT ROWID;

CREATE INDEX block_by_height ON block (height);

CREATE TABLE block_event (
    hash BLOB NOT NULL, step TEXT NOT NULL, node TEXT NOT NULL, detail TEXT NOT NULL,
    at INTEGER NOT NULL,
    PRIMARY KEY (hash, step, node, detail)
) WITHOUT ROWID;

-- Batches of the log that could not be read.
CREATE TABLE damage (first INTEGER PRIMARY KEY, last INTEGER NOT NULL);
