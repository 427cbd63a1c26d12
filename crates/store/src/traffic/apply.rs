//! Writing a group of prepared entries.

use chat::{exchange::End, ids::TurnId};
use sqlx::{Connection, SqliteConnection};

use super::{
    ExchangeState, Reported,
    prepare::{Hash, NewExchange, Packed, Part, Prepared, PreparedPiece},
};
use crate::body::count;

/// The parts that are in the file since, and their numbers.
pub(super) type Stored = Vec<(Hash, i64)>;

/// Writes a group, all or nothing. An empty one writes what is there already: whether the file
/// takes it.
pub(super) async fn group(
    conn: &mut SqliteConnection,
    group: &[Prepared],
) -> Result<Stored, sqlx::Error> {
    let mut tx = conn.begin_with("BEGIN IMMEDIATE").await?;
    let mut stored = Stored::new();
    if group.is_empty() {
        sqlx::query("UPDATE traffic_schema_version SET version = version WHERE version = 1")
            .execute(&mut *tx)
            .await?;
    }
    for entry in group {
        match entry {
            Prepared::Exchange(number, new) => exchange(&mut tx, *number, new).await?,
            Prepared::Piece(new) => piece(&mut tx, new, &mut stored).await?,
            Prepared::Label(number, label) => {
                sqlx::query("UPDATE exchanges SET label = $1 WHERE id = $2")
                    .bind(label)
                    .bind(number)
                    .execute(&mut *tx)
                    .await?;
            }
            Prepared::State(number, new) => state(&mut tx, *number, new).await?,
            Prepared::Reported(number, said) => reported(&mut tx, *number, *said).await?,
        }
    }
    tx.commit().await?;
    Ok(stored)
}

async fn exchange(
    conn: &mut SqliteConnection,
    number: i64,
    new: &NewExchange,
) -> Result<(), sqlx::Error> {
    let NewExchange {
        head,
        label,
        state: known,
    } = new;
    sqlx::query(
        "INSERT INTO exchanges (id, key, subject, turn_id, round, call, peer, server, method, \
         url, label, with_bodies, request_headers, started_at, bytes_out, bytes_in, frames_in) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, 0, 0, 0)",
    )
    .bind(number)
    .bind(head.id.as_str())
    .bind(head.subject.as_str())
    .bind(head.turn.as_ref().map(TurnId::as_str))
    .bind(head.round.map(|round| round.0))
    .bind(head.call.map(|call| call.0))
    .bind(head.peer.name())
    .bind(head.server.as_deref())
    .bind(head.method.as_str())
    .bind(head.url.as_str())
    .bind(label.as_deref())
    .bind(head.bodies.number())
    .bind(json(&head.request_headers))
    .bind(head.started_at)
    .execute(&mut *conn)
    .await?;
    match known {
        Some(known) => state(conn, number, known).await,
        None => Ok(()),
    }
}

async fn state(
    conn: &mut SqliteConnection,
    number: i64,
    new: &ExchangeState,
) -> Result<(), sqlx::Error> {
    let end = new.end.as_ref();
    // What has ended stays as it ended.
    sqlx::query(
        "UPDATE exchanges SET bytes_out = $1, status = $2, request_id = $3, \
         response_headers = $4, headers_after = $5, bytes_in = $6, frames_in = $7, ended = $8, \
         ended_after = $9, failure = $10 WHERE id = $11 AND ended IS NULL",
    )
    .bind(count(new.bytes_out))
    .bind(new.status)
    .bind(new.request_id.as_deref())
    .bind(json(&new.response_headers))
    .bind(new.headers_after_us.map(count))
    .bind(count(new.bytes_in))
    .bind(count(new.frames_in))
    .bind(end.map(End::name))
    .bind(new.ended_after_us.map(count))
    .bind(end.and_then(End::failure))
    .bind(number)
    .execute(conn)
    .await
    .map(drop)
}

/// Writes what an answer says went wrong, where it stands how an exchange failed: of those that did
/// not fail by themselves.
async fn reported(
    conn: &mut SqliteConnection,
    number: i64,
    said: Reported,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "UPDATE exchanges SET failure = $1 WHERE id = $2 AND ended IN ('complete', 'dropped')",
    )
    .bind(said.text())
    .bind(number)
    .execute(conn)
    .await
    .map(drop)
}

async fn piece(
    conn: &mut SqliteConnection,
    new: &PreparedPiece,
    stored: &mut Stored,
) -> Result<(), sqlx::Error> {
    let exchange = new.exchange;
    let (body, blobs) = match &new.body {
        Packed::Inline(body) => (Some(body.as_slice()), None),
        Packed::Parts(new) => (None, Some(parts(conn, exchange, new, stored).await?)),
    };
    // Of an exchange that retention took away meanwhile nothing is kept.
    sqlx::query(
        "INSERT INTO pieces (exchange_id, side, start, size, body, blobs, frames, arrivals) \
         SELECT $1, $2, $3, $4, $5, $6, $7, $8 WHERE EXISTS \
         (SELECT 1 FROM exchanges WHERE id = $1)",
    )
    .bind(exchange)
    .bind(new.side.number())
    .bind(count(new.start))
    .bind(count(new.size))
    .bind(body)
    .bind(blobs)
    .bind(count(new.frames))
    .bind(new.arrivals.as_deref())
    .execute(conn)
    .await
    .map(drop)
}

/// Stores the parts that are not stored yet and marks the others as used; the numbers of all.
async fn parts(
    conn: &mut SqliteConnection,
    exchange: i64,
    parts: &[Part],
    stored: &mut Stored,
) -> Result<Vec<u8>, sqlx::Error> {
    let mut numbers = Vec::with_capacity(parts.len());
    let mut again = Vec::new();
    for part in parts {
        match part {
            Part::Stored(number) => {
                again.push(*number);
                numbers.push(*number);
            }
            Part::New { hash, size, packed } => {
                let number = store(conn, exchange, (hash, *size, packed)).await?;
                stored.push((*hash, number));
                numbers.push(number);
            }
        }
    }
    for (first, last) in runs(again) {
        sqlx::query("UPDATE blobs SET used = $1 WHERE id BETWEEN $2 AND $3 AND used < $1")
            .bind(exchange)
            .bind(first)
            .bind(last)
            .execute(&mut *conn)
            .await?;
    }
    Ok(numbers.into_iter().flat_map(i64::to_be_bytes).collect())
}

async fn store(
    conn: &mut SqliteConnection,
    exchange: i64,
    (hash, size, packed): (&Hash, usize, &[u8]),
) -> Result<i64, sqlx::Error> {
    let (number,): (i64,) = sqlx::query_as(
        "INSERT INTO blobs (hash, size, used) VALUES ($1, $2, $3) ON CONFLICT (hash) DO UPDATE \
         SET used = CASE WHEN used < excluded.used THEN excluded.used ELSE used END RETURNING id",
    )
    .bind(hash.as_slice())
    .bind(count(size))
    .bind(exchange)
    .fetch_one(&mut *conn)
    .await?;
    sqlx::query("INSERT INTO bodies (blob_id, body) VALUES ($1, $2) ON CONFLICT DO NOTHING")
        .bind(number)
        .bind(packed)
        .execute(conn)
        .await?;
    Ok(number)
}

/// Numbers as runs without gaps, each by its first and its last: what was stored together is
/// mostly used again together.
fn runs(mut numbers: Vec<i64>) -> Vec<(i64, i64)> {
    numbers.sort_unstable();
    let mut runs: Vec<(i64, i64)> = Vec::new();
    for number in numbers {
        match runs.last_mut() {
            Some((_, last)) if number <= *last + 1 => *last = number,
            Some(_) | None => runs.push((number, number)),
        }
    }
    runs
}

fn json(headers: &[(String, String)]) -> String {
    // Text serializes.
    serde_json::to_string(headers).unwrap_or_else(|_| "[]".to_owned())
}

#[cfg(test)]
mod tests {
    use super::runs;

    #[test]
    fn numbers_become_runs() {
        assert_eq!(runs(vec![]), []);
        assert_eq!(
            runs(vec![7, 3, 2, 9, 4, 4, 10, 11]),
            [(2, 4), (7, 7), (9, 11)]
        );
    }
}
