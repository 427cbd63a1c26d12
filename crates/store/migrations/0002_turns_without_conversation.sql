-- Turns of the API belong to no conversation: `conversation_id` may be NULL. Their `message_id` is
-- their own id.
--
-- SQLite cannot drop a NOT NULL, so the table is made anew, as https://sqlite.org/lang_altertable.html
-- (section 7) has it: foreign keys are off while a schema is brought up to date, and checked before
-- the commit.

CREATE TABLE turns_new (
    id              TEXT PRIMARY KEY,
    conversation_id TEXT REFERENCES conversations (id), -- NULL: a turn of the API
    subject         TEXT NOT NULL,            -- its owner: the `sub` of the verified assertion
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

INSERT INTO turns_new (id, conversation_id, subject, parent_id, message_id, sid, started_at, epoch,
                       last_seq, ended, ended_at)
SELECT id, conversation_id, subject, parent_id, message_id, sid, started_at, epoch,
       last_seq, ended, ended_at
FROM turns;

DROP TABLE turns;

ALTER TABLE turns_new RENAME TO turns;

-- One open turn a conversation, whatever the program believes. (Turns of the API are not compared:
-- no NULL equals another.)
CREATE UNIQUE INDEX turns_open ON turns (conversation_id) WHERE ended IS NULL;

CREATE INDEX turns_by_conversation ON turns (conversation_id, started_at, id);
