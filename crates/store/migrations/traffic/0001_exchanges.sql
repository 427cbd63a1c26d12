-- What was said to models, MCP servers and Pomerium, and what they answered: a file of its own, so
-- that writing it never delays a turn and losing it costs no conversation.
--
-- Times are milliseconds since 1970-01-01 UTC, or microseconds after the start of the exchange.
--
-- traffic_schema_version  the migrations applied to this file, one row each
-- exchanges  one request with its response, in the order they began
-- pieces     the bodies, in pieces as they were captured
-- blobs      the parts of pieces, each stored once, by the SHA-256 of its plain bytes
-- bodies     their bytes, apart: marking a blob as used again then rewrites no large row

CREATE TABLE traffic_schema_version (
    version INTEGER PRIMARY KEY
) STRICT;

CREATE TABLE exchanges (
    id               INTEGER PRIMARY KEY,
    key              TEXT NOT NULL UNIQUE,  -- its public id
    subject          TEXT NOT NULL,         -- for whom: the `sub` of the verified assertion
    turn_id          TEXT,                  -- NULL: outside of turns
    round            INTEGER,
    call             INTEGER,
    peer             TEXT NOT NULL,         -- 'model', 'mcp', 'pomerium'
    server           TEXT,
    method           TEXT NOT NULL,
    url              TEXT NOT NULL,
    label            TEXT,                  -- JSON-RPC method or model, from the request's body
    with_bodies      INTEGER NOT NULL,      -- 0: only metadata is kept
    request_headers  TEXT NOT NULL,         -- JSON: [["name", "value"], …]
    started_at       INTEGER NOT NULL,
    bytes_out        INTEGER NOT NULL,
    status           INTEGER,
    request_id       TEXT,
    response_headers TEXT,
    headers_after    INTEGER,
    bytes_in         INTEGER NOT NULL,      -- of an open one what its pieces say
    frames_in        INTEGER NOT NULL,
    ended            TEXT,                  -- 'complete', 'dropped', 'failed', 'interrupted'; NULL: open
    ended_after      INTEGER,
    failure          TEXT                   -- of 'failed': how
) STRICT;

CREATE INDEX exchanges_by_turn ON exchanges (subject, turn_id, id);

CREATE INDEX exchanges_open ON exchanges (id) WHERE ended IS NULL;

CREATE TABLE pieces (
    exchange_id INTEGER NOT NULL,  -- of `exchanges`; retention deletes both
    side        INTEGER NOT NULL,  -- 0: of the request, 1: of the response
    start       INTEGER NOT NULL,  -- where in the body it begins
    size        INTEGER NOT NULL,  -- plain bytes
    body        BLOB,              -- its bytes, compressed if shorter than `size`; or
    blobs       BLOB,              -- the ids of its parts, eight bytes each, big-endian
    frames      INTEGER NOT NULL,
    arrivals    BLOB,              -- when its frames came
    PRIMARY KEY (exchange_id, side, start),
    CHECK ((body IS NULL) = (blobs IS NOT NULL))
) STRICT;

CREATE TABLE blobs (
    id   INTEGER PRIMARY KEY,
    hash BLOB NOT NULL UNIQUE,
    size INTEGER NOT NULL,
    used INTEGER NOT NULL          -- the newest exchange it is part of: it goes when that goes
) STRICT;

CREATE INDEX blobs_by_use ON blobs (used);

CREATE TABLE bodies (
    blob_id INTEGER PRIMARY KEY,
    body    BLOB NOT NULL          -- compressed if shorter than the blob's size
) STRICT;
