//! What is taken away, when, and that the room it had is given back.

use super::*;

#[tokio::test]
async fn retention_takes_the_oldest_with_what_only_they_used_and_gives_the_room_back() {
    let file = File::new();
    let store = file.open().await;
    let shared = vec![b's'; 5_000];
    for number in 0..250_u32 {
        let head = ExchangeHead {
            started_at: i64::from(number),
            ..head(&format!("x-{number}"), None)
        };
        let exchange = store.begin(head).unwrap();
        exchange.piece(request(&shared));
        let own: Vec<u8> = (0..8_192_u32)
            .flat_map(|n| ((n * n) ^ (number * 77 + n)).to_le_bytes())
            .collect();
        exchange.piece(Piece {
            repeats: Repeats::Often,
            ..frame(0, &own, 1)
        });
        exchange.state(ended(5_000, own.len() as u64));
    }
    store.flush().await.unwrap();
    let full = std::fs::metadata(file.path()).unwrap().len();
    let purged = store.purge(200).await.unwrap();
    assert_eq!(purged.exchanges, 200);
    let left = store.exchanges(&ana(), None, 1000).await.unwrap();
    assert_eq!(left.len(), 50);
    let whole = store.exchange(&ana(), &left[49].id).await.unwrap().unwrap();
    assert_eq!(
        (whole.request.bytes, whole.request.kept),
        (shared, Kept::All)
    );
    assert_eq!(whole.response.kept, Kept::All);

    let half = stored_bytes(&file).await / 2;
    store.close().await;
    let half = u64::try_from(half).unwrap();
    let store = file.open_within(half).await.unwrap();
    let purged = store.purge(0).await.unwrap();
    assert!((1..=50).contains(&purged.exchanges), "{purged:?}");
    assert!(!store.purge(i64::MAX).await.unwrap().more);
    assert_eq!(store.exchanges(&ana(), None, 10).await.unwrap(), []);
    let path = file.path();
    store.close().await;
    let empty = std::fs::metadata(path).unwrap().len();
    assert!(empty * 10 < full, "{empty} of {full} bytes are left");
}

#[tokio::test]
async fn no_more_is_taken_away_than_is_too_much() {
    let file = File::new();
    let store = file.open().await;
    for number in 0..20 {
        let body = noise(number, 200_000);
        record(&store, head(&format!("x-{number}"), None), body.as_bytes());
    }
    store.flush().await.unwrap();
    let stored = u64::try_from(stored_bytes(&file).await).unwrap();
    assert_eq!(store.purge(0).await.unwrap().exchanges, 0);
    store.close().await;
    let store = file.open_within(stored / 2).await.unwrap();
    let purged = store.purge(0).await.unwrap();
    assert!((10..=13).contains(&purged.exchanges), "{purged:?}");
    let left = store.exchanges(&ana(), None, 100).await.unwrap();
    assert_eq!(left.first().unwrap().id.as_str(), "x-19");
    let again = store.purge(0).await.unwrap();
    assert_eq!(again.exchanges, 0);
    store.close().await;
}

#[tokio::test]
async fn a_file_keeps_within_its_bound_without_being_looked_at() {
    const BOUND: u64 = 2 * 1024 * 1024;
    let file = File::new();
    let store = file.open_within(BOUND).await.unwrap();
    for number in 0..40 {
        let body = noise(number, 400_000);
        record(&store, head(&format!("x-{number}"), None), body.as_bytes());
        store.flush().await.unwrap();
    }
    let wal = file.directory.path().join("t-traffic.db-wal");
    let sizes = [file.path(), wal].map(|path| std::fs::metadata(path).unwrap().len());
    assert!(sizes.iter().sum::<u64>() <= BOUND * 3 / 2, "{sizes:?}");
    let left = store.exchanges(&ana(), None, 100).await.unwrap();
    assert!((4..12).contains(&left.len()), "{} are left", left.len());
    assert_eq!(left[0].id.as_str(), "x-39");
    store.close().await;
}

#[tokio::test]
async fn a_turn_can_be_forgotten_and_others_keep_their_bodies() {
    let file = File::new();
    let store = file.open().await;
    let shared = noise(1, 5_000);
    for (id, turn) in [("a", "kept"), ("b", "gone"), ("c", "gone")] {
        record(&store, head(id, Some(turn)), shared.as_bytes());
    }
    store.forget(&TurnId::from("gone")).await.unwrap();
    let turns = store.turns(&ana(), None, 10).await.unwrap();
    assert_eq!(turns.len(), 1);
    let whole = async |id: &str| store.exchange(&ana(), &ExchangeId(id.to_owned())).await;
    assert!(whole("b").await.unwrap().is_none());
    let kept = whole("a").await.unwrap().unwrap();
    assert_eq!(kept.request.bytes, shared.as_bytes());
    store.close().await;
}
