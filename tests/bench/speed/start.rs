//! How long Toolgate takes from its start to ready.

use std::time::Duration;

use super::{
    Bench, Failure,
    load::percentile,
    process::Place,
    report::{Report, Row},
};

/// Measures the first start, with a new database, and later ones.
pub(crate) async fn measure(bench: &Bench, report: &mut Report) -> Result<(), Failure> {
    let directory = bench.directory("start")?;
    let place = Place {
        directory: &directory,
        endpoint: bench.endpoint.address,
        server: None,
    };
    let mut starts = Vec::<Duration>::new();
    for _ in 0..bench.short(20, 5) {
        let (process, took) = bench.programs.toolgate(&place).await?;
        process.end().await?;
        starts.push(took);
    }
    let mut later = starts.split_off(1);
    let mut push = |what: &str, took: Option<f64>, goal: &'static str| {
        let rows = took.map(|took| Row::of(what, "ms", took).goal(goal));
        report.rows.extend(rows);
    };
    push(
        "start to ready, a new database",
        percentile(&mut starts, 50),
        "50",
    );
    push("start to ready, p50", percentile(&mut later, 50), "50");
    push("start to ready, p95", percentile(&mut later, 95), "");
    Ok(())
}
