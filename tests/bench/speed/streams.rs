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

/// Measures all targets under all loads.
pub(crate) async fn measure(bench: &Bench, report: &mut Report) -> Result<(), Failure> {
    let directory = bench.directory("streams")?;
    let place = Place {
        directory: &directory,
        endpoint: bench.endpoint.address,
        server: None,
    };
    let (toolgate, _) = bench.programs.toolgate(&place).await?;
    let upstream = bench.endpoint.address.to_string();
    let proxy = Process::role(&["proxy", &upstream]).await?;
    let rest = toolgate.memory()?;
    for &streams in &bench.streams {
        let load = load(streams);
        let direct = run(bench, load, (bench.endpoint.address, None)).await?;
        let through = run(bench, load, (proxy.address, Some(&proxy))).await?;
        let whole = run(bench, load, (toolgate.address, Some(&toolgate))).await?;
        rows(report, streams, [&direct, &through, &whole]);
    }
    memory(report, rest, &toolgate)
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

fn memory(report: &mut Report, rest: Memory, toolgate: &Process) -> Result<(), Failure> {
    let mb = 1e6;
    let after = toolgate.memory()?;
    report.rows.extend([
        Row::of("memory at rest", "MB", rest.resident / mb).goal("20"),
        Row::of("… without the pages of its file", "MB", rest.anonymous / mb),
        Row::of("… after all that", "MB", after.resident / mb),
        Row::of(
            "threads after all that",
            "",
            f64::from(u16::try_from(toolgate.threads()?)?),
        ),
    ]);
    Ok(())
}
