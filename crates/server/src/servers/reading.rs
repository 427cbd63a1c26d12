//! Resources that links in results lead to, read from the servers that gave the links.

use std::sync::Arc;

use chat::ids::ConversationId;
use serde_json::Value;
use wire::mcp::{ReadError, ReadRequest};

use super::{NEWER_TOKEN, Servers};
use crate::tokens::Session;

/// A resource of a server of a user's.
#[derive(Clone, Debug)]
pub struct Linked {
    /// The server whose result has the link.
    pub server: String,
    /// Whose MCP session is asked: a server may know its resource in the session only that gave the
    /// link.
    pub scope: ConversationId,
    /// What is read.
    pub request: ReadRequest,
}

impl Servers {
    /// Reads a resource with the session's token: an item of MCP's `ReadResourceResult.contents` as
    /// the server sent it. Dropping the future cancels it. Of one user only so many are read at
    /// once; the others wait for their turn.
    ///
    /// # Errors
    /// Why it cannot be had. A stale token is waited out before: a newer one of the session is
    /// asked for.
    pub async fn read(&self, session: &Arc<Session>, linked: Linked) -> Result<Value, ReadError> {
        let user = self.of(&session.subject);
        let _place = user.place_to_read().await;
        let mut newer = session.watch();
        let result = self.read_once(session, linked.clone()).await;
        if !matches!(result, Err(ReadError::StaleToken(_))) {
            return result;
        }
        session.recall_streams();
        match tokio::time::timeout(NEWER_TOKEN, newer.changed()).await {
            Ok(Ok(())) => self.read_once(session, linked).await,
            Ok(Err(_)) | Err(_) => result,
        }
    }

    async fn read_once(&self, session: &Arc<Session>, linked: Linked) -> Result<Value, ReadError> {
        let Linked {
            server,
            scope,
            request,
        } = linked;
        let subject = &session.subject;
        if let Some(failure) = self.of(subject).awaits_consent(&server) {
            return Err(ReadError::NeedsConnect(failure));
        }
        let connection = self.connect(session, &server, &scope).await?;
        let result = connection.read(request).await;
        if let Err(ReadError::NeedsConnect(failure)) = &result {
            self.account_wanted(subject, &server, failure.clone());
        }
        result
    }
}
