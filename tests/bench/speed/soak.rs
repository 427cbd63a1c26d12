//! Whether memory grows under a load that goes on.

use std::time::Duration;

use tokio::time::Instant;

use super::{
    Bench, Failure,
    endpoint::Script,
    load::Load,
    process::Place,
    report::{Report, Row},
    turns,
};

/// The pause between two looks at the memory.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Lets people ask, with tools and without, for as long as `lasting`. The first fifth warms it up.
pub(crate) async fn measure(
    bench: &Bench,
    lasting: Duration,
    report: &mut Report,
) -> Result<(), Failure> {
    let directory = bench.directory("soak")?;
    let northwind = bench.programs.northwind(&directory).await?;
    let place = Place {
        directory: &directory,
        endpoint: bench.endpoint.address,
        server: Some(northwind.address),
    };
    let (toolgate, _) = bench.programs.toolgate(&place).await?;
    let text = Script {
        deltas: 100,
        every: Duration::from_millis(20),
        calls: 0,
    };
    let reading = Load {
        streams: 32,
        script: text,
        spread: text.every * text.deltas,
    };
    let working = Load {
        streams: 2,
        script: turns::SCRIPT,
        spread: Duration::ZERO,
    };
    let (reading, working) = (
        reading.start(toolgate.address),
        working.start(toolgate.address),
    );
    let began = Instant::now();
    let (mut warm, mut most, mut answers) = (None, 0.0_f64, 0);
    while began.elapsed() < lasting {
        let (read, worked) = tokio::try_join!(reading.hear(LOOK_EVERY), working.hear(LOOK_EVERY))?;
        answers += read.answers + worked.answers;
        let resident = toolgate.memory()?.resident;
        most = most.max(resident);
        if began.elapsed() >= lasting / 5 {
            warm.get_or_insert(resident);
        }
    }
    let last = toolgate.memory()?.resident;
    reading.stop().await;
    working.stop().await;
    let mb = 1e6;
    let minutes = lasting.as_secs_f64() / 60.0;
    let warm = warm.unwrap_or(last);
    report.rows.extend([
        Row::of(
            format!("answers in a soak of {minutes:.1} min"),
            "",
            f64::from(answers),
        ),
        Row::of("memory, after the first fifth of it", "MB", warm / mb),
        Row::of("memory, at its end", "MB", last / mb),
        Row::of("memory, most of it", "MB", most / mb),
        Row::of(
            "growth",
            "MB/h",
            (last - warm) / mb / (minutes * 0.8) * 60.0,
        )
        .goal("flat"),
    ]);
    Ok(())
}
