//! What a delta costs when it is rendered for a page, with and without readers.

use std::{net::SocketAddr, time::Duration};

use http::Method;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    Bench, Failure,
    client::Client,
    endpoint::Script,
    process::{Place, Process},
    report::{Report, Row},
};

/// Conversations that are answered at once.
const CONVERSATIONS: u32 = 6;

/// Pages that are open on each: six times three is what one person may have.
const READERS: [u32; 3] = [0, 1, 3];

/// From one delta to the next, of each conversation.
const EVERY: Duration = Duration::from_millis(10);

/// Measures a delta with that many readers.
pub(crate) async fn measure(bench: &Bench, report: &mut Report) -> Result<(), Failure> {
    let directory = bench.directory("page")?;
    let place = Place {
        directory: &directory,
        endpoint: bench.endpoint.address,
        server: None,
    };
    let (toolgate, _) = bench.programs.toolgate(&place).await?;
    for readers in READERS {
        let cpu = run(bench, &toolgate, readers).await?;
        let what = format!("processor time of a delta, {readers} pages open on it");
        report.rows.push(Row::of(what, "µs", cpu));
    }
    Ok(())
}

async fn run(bench: &Bench, toolgate: &Process, readers: u32) -> Result<f64, Failure> {
    let lasting = bench.window() + Duration::from_secs(3);
    let script = Script {
        deltas: u32::try_from(lasting.as_millis() / EVERY.as_millis())?,
        every: EVERY,
        calls: 0,
    };
    let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
    for _ in 0..CONVERSATIONS {
        let conversation = post(toolgate.address, script).await?;
        for _ in 0..readers {
            let reading = read(toolgate.address, conversation.clone());
            let stop = stop.clone();
            tasks.spawn(async move { stop.run_until_cancelled(reading).await });
        }
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let (before, said) = (toolgate.cpu()?, bench.sent().await?);
    tokio::time::sleep(bench.window()).await;
    let used = toolgate.cpu()?.saturating_sub(before);
    let deltas = bench.sent().await?.saturating_sub(said);
    stop.cancel();
    tasks.close();
    tasks.wait().await;
    // The turns come to their ends.
    tokio::time::sleep(Duration::from_secs(4)).await;
    Ok(used.as_secs_f64() * 1e6 / f64::from(deltas))
}

/// Posts a message as a page does; the conversation.
async fn post(address: SocketAddr, script: Script) -> Result<String, Failure> {
    let message = json!({
        "message_id": uuid::Uuid::new_v4().to_string(),
        "message": script.to_string(),
    });
    let mut client = Client::connect(address).await?;
    let answer = client.send(Method::POST, "/api/messages", message.to_string());
    let answer = answer.await?.into_body().collect().await?.to_bytes();
    let posted: Value = serde_json::from_slice(&answer)?;
    let conversation = posted.get("conversation").and_then(Value::as_str);
    let refused = || String::from_utf8_lossy(&answer).into_owned();
    Ok(conversation.ok_or_else(refused)?.to_owned())
}

/// Reads a page's stream until it ends.
async fn read(address: SocketAddr, conversation: String) -> Result<(), Failure> {
    let mut client = Client::connect(address).await?;
    let path = format!("/api/events?conversation={conversation}");
    let answer = client.send(Method::GET, &path, String::new()).await?;
    let mut body = answer.into_body();
    while let Some(frame) = body.frame().await {
        frame?;
    }
    Ok(())
}
