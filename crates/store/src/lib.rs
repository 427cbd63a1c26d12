//! Conversations, turn logs and blobs in SQLite.
