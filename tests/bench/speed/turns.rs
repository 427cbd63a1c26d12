//! Turns with ten tool rounds each, against a real MCP server.

use std::time::Duration;

use super::{
    Bench, Failure,
    endpoint::Script,
    load::{Load, percentile},
    process::Place,
    report::{Report, Row},
};

/// Rounds of a turn that call a tool.
const ROUNDS: u32 = 10;

/// How many ask at once.
const PEOPLE: [u32; 2] = [1, 16];

pub(crate) const SCRIPT: Script = Script {
    deltas: 10,
    every: Duration::ZERO,
    calls: ROUNDS,
};

/// Measures turns a second, and what one costs.
pub(crate) async fn measure(bench: &Bench, report: &mut Report) -> Result<(), Failure> {
    let directory = bench.directory("turns")?;
    let northwind = bench.programs.northwind(&directory).await?;
    let place = Place {
        directory: &directory,
        endpoint: bench.endpoint.address,
        server: Some(northwind.address),
    };
    let (toolgate, _) = bench.programs.toolgate(&place).await?;
    for streams in PEOPLE {
        let load = Load {
            streams,
            script: SCRIPT,
            spread: Duration::ZERO,
        };
        let running = load.start(toolgate.address);
        let _warm = running.hear(Duration::from_secs(2)).await?;
        let before = toolgate.cpu()?;
        let mut heard = running.hear(bench.window()).await?;
        let spent = toolgate.cpu()?.saturating_sub(before);
        running.stop().await;
        let answers = f64::from(heard.answers);
        let at = |what: &str| format!("{what}, {ROUNDS} tool rounds, {streams} at once");
        let per_second = answers / bench.window().as_secs_f64();
        report.rows.push(Row::of(at("turns"), "1/s", per_second));
        let cpu = spent.as_secs_f64() * 1e3 / answers;
        report
            .rows
            .push(Row::of(at("processor time of a turn"), "ms", cpu));
        let took = percentile(&mut heard.firsts, 50);
        let row = took.map(|took| Row::of(at("a turn, p50"), "ms", took));
        report.rows.extend(row);
    }
    Ok(())
}
