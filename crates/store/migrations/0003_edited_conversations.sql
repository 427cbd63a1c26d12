-- Conversations can be renamed, found by their title, deleted and restored, and have tools switched
-- off. What is deleted is purged later, for good; turns of the API are purged by age.
--
-- No title is empty, so where `title_folded` is, the program has yet to make it: SQL folds the case
-- of ASCII only.

ALTER TABLE conversations ADD COLUMN title_folded TEXT NOT NULL DEFAULT '';
-- What is switched off (`Selection`), JSON; NULL: nothing.
ALTER TABLE conversations ADD COLUMN off TEXT;
-- When it was deleted; NULL: it was not. 0: it is being purged and does not come back.
ALTER TABLE conversations ADD COLUMN deleted_at INTEGER;

CREATE INDEX conversations_unfolded ON conversations (id) WHERE title_folded = '';
CREATE INDEX conversations_deleted ON conversations (deleted_at) WHERE deleted_at IS NOT NULL;

-- What can be read of turns: all but those of deleted conversations.
CREATE VIEW readable_turns AS
SELECT t.id, t.conversation_id, t.subject, t.parent_id, t.message_id, t.started_at
FROM turns t
WHERE NOT EXISTS (
    SELECT 1 FROM conversations c WHERE c.id = t.conversation_id AND c.deleted_at IS NOT NULL
);

CREATE INDEX turns_by_parent ON turns (parent_id) WHERE parent_id IS NOT NULL;
CREATE INDEX turns_of_api ON turns (ended_at) WHERE conversation_id IS NULL;

-- Who names a blob: the last one to go takes it along.
CREATE INDEX events_by_blob ON events (blob_hash) WHERE blob_hash IS NOT NULL;
CREATE INDEX results_by_blob ON results (blob_hash);
CREATE INDEX transcripts_by_blob ON transcripts (blob_hash) WHERE blob_hash IS NOT NULL;
