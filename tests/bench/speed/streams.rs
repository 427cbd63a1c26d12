//! What a stream costs through `/v1/chat/completions`: time to its first delta, time of each
//! delta, processor time, memory.

use std::{net::SocketAddr, time::Duration};

use super::{
    Bench, Failure,
    endpoint::Script,
    load::{Load, percentile},
    process::{Memory, Place, Process},
    report::{Report, Row},
};

/// Deltas of an answer.
const DELTAS: u32 = 500;

/// Deltas of an answer to one who asks alone: that is about first deltas, so the more answers the
/// better.
const DELTAS_ALONE: u32 = 10;

/// From one delta to the next, of each stream: as fast as people read, and faster.
const EVERY: Duration = Duration::from_millis(20);

/// Bytes of a megabyte.
const MB: f64 = 1e6;

/// The figures of one target under one load.
#[derive(Debug, Default)]
struct Figures {
    first: [Option<f64>; 2],
    lag: [Option<f64>; 2],
    /// Microseconds of processor time a delta.
    cpu: f64,
    /// Bytes a stream.
    memory: f64,
}

/// Measures all targets under all loads, each load with programs of its own: what an earlier one
/// had allocated would serve the next.
pub(crate) async fn measure(bench: &Bench, report: &mut Report) -> Result<(), Failure> {
    let upstream = bench.endpoint.address.to_string();
    let mut rest = None;
    for &streams in &bench.streams {
        let directory = bench.directory(&format!("streams-{streams}"))?;
        let place = Place {
            directory: &directory,
            endpoint: bench.endpoint.address,
            server: None,
        };
        let (toolgate, _) = bench.programs.toolgate(&place).await?;
        let proxy = Process::role(&["proxy", &upstream]).await?;
        rest.get_or_insert(toolgate.memory()?);
        let load = load(streams);
        let direct = run(bench, load, (bench.endpoint.address, None)).await?;
        let through = run(bench, load, (proxy.address, Some(&proxy))).await?;
        let whole = run(bench, load, (toolgate.address, Some(&toolgate))).await?;
        rows(report, streams, [&direct, &through, &whole]);
        after(report, streams, &toolgate)?;
    }
    report.rows.extend(rest.map(at_rest).into_iter().flatten());
    Ok(())
}

fn load(streams: u32) -> Load {
    let deltas = if streams == 1 { DELTAS_ALONE } else { DELTAS };
    let script = Script {
        deltas,
        every: EVERY,
        calls: 0,
    };
    Load {
        streams,
        script,
        spread: EVERY * deltas,
    }
}

async fn run(
    bench: &Bench,
    load: Load,
    (address, process): (SocketAddr, Option<&Process>),
) -> Result<Figures, Failure> {
    let rest = resident(process)?;
    let running = load.start(address);
    let _warm = running.hear(load.spread + Duration::from_secs(1)).await?;
    let (before, said) = (cpu(process)?, bench.sent().await?);
    let mut heard = running.hear(bench.window()).await?;
    let used = cpu(process)?.saturating_sub(before);
    let deltas = bench.sent().await?.saturating_sub(said);
    let memory = resident(process)? - rest;
    running.stop().await;
    // Those who stopped asking are noticed.
    tokio::time::sleep(Duration::from_secs(1)).await;
    Ok(Figures {
        first: [50, 95].map(|share| percentile(&mut heard.firsts, share)),
        lag: [50, 95].map(|share| percentile(&mut heard.lags, share)),
        cpu: used.as_secs_f64() * 1e6 / f64::from(deltas),
        memory: memory / f64::from(load.streams),
    })
}

fn cpu(process: Option<&Process>) -> Result<Duration, Failure> {
    process.map_or(Ok(Duration::ZERO), Process::cpu)
}

fn resident(process: Option<&Process>) -> Result<f64, Failure> {
    let memory = process.map(Process::memory).transpose()?;
    Ok(memory.unwrap_or_default().resident)
}

fn rows(report: &mut Report, streams: u32, [direct, proxy, toolgate]: [&Figures; 3]) {
    let at = |what: &str| format!("{what}, {streams} at once");
    for (n, share) in ["p50", "p95"].into_iter().enumerate() {
        let firsts = [direct, proxy, toolgate].map(|of| of.first.get(n).copied().flatten());
        let row = Row::three(at(&format!("first delta, {share}")), "ms", firsts);
        let goal = if streams == 256 && n == 0 { "+1" } else { "" };
        report.rows.push(row.goal(goal));
    }
    if streams == 1 {
        return;
    }
    for (n, share) in ["p50", "p95"].into_iter().enumerate() {
        let lags = [direct, proxy, toolgate].map(|of| of.lag.get(n).copied().flatten());
        let row = Row::three(at(&format!("a delta on its way, {share}")), "ms", lags);
        report.rows.push(row);
    }
    let row = Row::of(at("processor time of a delta"), "µs", toolgate.cpu);
    report
        .rows
        .push(row.beside_proxy(proxy.cpu).goal("2 × proxy"));
    let kib = 1024.0;
    let row = Row::of(at("memory of a stream"), "KiB", toolgate.memory / kib);
    let goal = if streams == 256 { "80" } else { "" };
    report
        .rows
        .push(row.beside_proxy(proxy.memory / kib).goal(goal));
}

/// What stays once nobody asks any more.
fn after(report: &mut Report, streams: u32, toolgate: &Process) -> Result<(), Failure> {
    let resident = toolgate.memory()?.resident / MB;
    let threads = f64::from(u16::try_from(toolgate.threads()?)?);
    report.rows.extend([
        Row::of(format!("memory after {streams} at once"), "MB", resident),
        Row::of(format!("threads after {streams} at once"), "", threads),
    ]);
    Ok(())
}

fn at_rest(memory: Memory) -> [Row; 2] {
    [
        Row::of("memory at rest", "MB", memory.resident / MB).goal("20"),
        Row::of(
            "… without the pages of its file",
            "MB",
            memory.anonymous / MB,
        ),
    ]
}
