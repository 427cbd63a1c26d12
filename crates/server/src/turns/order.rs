//! What one user does to their conversations, one after another: messages posted, conversations
//! changed. So the limits are counted one message after another, and a turn that is being opened
//! has read what is off in its conversation, or reads it afterwards.

use std::sync::Arc;

use chat::ids::Subject;
use dashmap::DashMap;
use tokio::sync::{Mutex, OwnedMutexGuard};

/// The users who are doing something.
#[derive(Clone, Debug, Default)]
pub(super) struct Order(Arc<DashMap<Subject, Arc<Mutex<()>>>>);

/// What is done now, until this is dropped.
#[derive(Debug)]
pub(super) struct Held {
    order: Order,
    subject: Subject,
    guard: Option<OwnedMutexGuard<()>>,
}

impl Order {
    /// Waits until what the user did before is done. Nothing long may be done afterwards.
    pub(super) async fn hold(&self, subject: &Subject) -> Held {
        let lock = Arc::clone(&self.0.entry(subject.clone()).or_default());
        // Made before it is waited for: one who stops waiting leaves nothing behind.
        let mut held = Held {
            order: self.clone(),
            subject: subject.clone(),
            guard: None,
        };
        held.guard = Some(lock.lock_owned().await);
        held
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.guard = None;
        // Whoever holds it or waits for it has it from the map, where nobody gets it meanwhile.
        let unwanted = |_: &Subject, lock: &Arc<Mutex<()>>| Arc::strong_count(lock) == 1;
        self.order.0.remove_if(&self.subject, unwanted);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::Order;

    const SOON: Duration = Duration::from_millis(20);

    #[tokio::test]
    async fn a_user_waits_only_for_themselves() {
        let order = Order::default();
        let (ana, ben) = ("ana".into(), "ben".into());
        let held = order.hold(&ana).await;
        assert!(timeout(SOON, order.hold(&ana)).await.is_err());
        drop(timeout(SOON, order.hold(&ben)).await.unwrap());
        drop(held);
        let again = timeout(SOON, order.hold(&ana)).await.unwrap();
        assert_eq!(order.0.len(), 1);
        drop(again);
        assert!(order.0.is_empty(), "nothing is left behind");
    }
}
