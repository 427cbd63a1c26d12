-- Conversations, the logs of their turns, and the bodies too large for a row.
--
-- Every time is milliseconds since 1970-01-01 UTC. Every id is text, made by the caller. A body is
-- JSON: in the row (`body`) up to 16 KiB, otherwise in `blobs`, of which the row keeps the hash and
-- the first characters (`preview`); `size` is always the bytes of the JSON.
--
-- schema_version  the migrations applied to this file, one row each
-- conversations   what one user owns: a tree of turns
-- turns           one row a turn; all but its birth is a projection of its log
-- events          the turn log, append-only: the one source that everything else is derived from
-- results         of `call.finished` the server's result, when it is too large for a row: nothing that
--                 is derived from the log shows it, so it is not read with the log
-- transcripts     the fold of the log of each finished turn, written with its `turn.finished`
-- blobs           zstd-compressed bodies by the SHA-256 of their plain bytes, each stored once

CREATE TABLE schema_version (
    version INTEGER PRIMARY KEY
) STRICT;

CREATE TABLE conversations (
    id         TEXT PRIMARY KEY,
    subject    TEXT NOT NULL,    -- its owner: the `sub` of the verified assertion
    title      TEXT NOT NULL,    -- made of the first message
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL  -- when a turn of it last began or ended
) STRICT;

CREATE INDEX conversations_by_activity ON conversations (subject, updated_at, id);

CREATE TABLE turns (
    id              TEXT PRIMARY KEY,
    conversation_id TEXT NOT NULL REFERENCES conversations (id),
    subject         TEXT NOT NULL,            -- the owner of the conversation
    parent_id       TEXT REFERENCES turns (id), -- NULL: the first of its conversation
    message_id      TEXT NOT NULL,            -- made by the page; posting it twice opens one turn
    sid             TEXT NOT NULL,            -- the Pomerium session its calls go with by now
    started_at      INTEGER NOT NULL,         -- grows in a conversation, whatever the clock says
    epoch           INTEGER NOT NULL,         -- who may append: the last to take the turn over
    last_seq        INTEGER NOT NULL,         -- the number of its last event
    ended           TEXT,                     -- how it ended (`TurnEnd`); NULL: it is open
    ended_at        INTEGER,
    UNIQUE (subject, message_id)
) STRICT;

-- One open turn a conversation, whatever the program believes.
CREATE UNIQUE INDEX turns_open ON turns (conversation_id) WHERE ended IS NULL;

CREATE INDEX turns_by_conversation ON turns (conversation_id, started_at, id);

CREATE TABLE blobs (
    hash TEXT PRIMARY KEY,      -- lower-case hex
    size INTEGER NOT NULL,      -- plain bytes
    body BLOB NOT NULL
) STRICT;

-- With a rowid: rows of kilobytes make a tree WITHOUT ROWID deep.
CREATE TABLE events (
    turn_id   TEXT NOT NULL REFERENCES turns (id),
    seq       INTEGER NOT NULL, -- from 1, without gaps
    at        INTEGER NOT NULL,
    type      TEXT NOT NULL,    -- the event's public name
    call_id   INTEGER,          -- the call it is about, if any
    size      INTEGER NOT NULL,
    body      TEXT,
    blob_hash TEXT REFERENCES blobs (hash),
    preview   TEXT,
    PRIMARY KEY (turn_id, seq),
    CHECK ((body IS NULL) = (blob_hash IS NOT NULL))
) STRICT;

CREATE TABLE results (
    turn_id   TEXT NOT NULL,
    seq       INTEGER NOT NULL, -- of the `call.finished` whose body lacks it
    blob_hash TEXT NOT NULL REFERENCES blobs (hash),
    PRIMARY KEY (turn_id, seq),
    FOREIGN KEY (turn_id, seq) REFERENCES events (turn_id, seq)
) STRICT;

CREATE TABLE transcripts (
    turn_id   TEXT PRIMARY KEY REFERENCES turns (id),
    size      INTEGER NOT NULL,
    body      TEXT,
    blob_hash TEXT REFERENCES blobs (hash),
    preview   TEXT,
    CHECK ((body IS NULL) = (blob_hash IS NOT NULL))
) STRICT;
