//! How long one run of a model takes, by threads and spinning.
//!
//! ```sh
//! cargo run --release -p magpie-inference --example latency -- MODEL [RUNS]
//! ```

use std::error::Error;
use std::io::Write;
use std::num::NonZeroUsize;
use std::path::Path;
use std::time::Duration;

use magpie_inference::{ModelFile, OnnxSession, SessionOptions};
use magpie_perception::InferenceSession;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let model = arguments.next().ok_or("usage: latency MODEL [RUNS]")?;
    let runs: usize = arguments.next().map_or(Ok(50), |runs| runs.parse())?;
    let model = ModelFile::read(Path::new(&model), None)?;
    let cores = std::thread::available_parallelism()?.get();
    let mut settings = Vec::new();
    for threads in 1..=cores {
        for spinning in [false, true] {
            let threads = NonZeroUsize::new(threads);
            let options = SessionOptions { threads, spinning, ..SessionOptions::default() };
            settings.push((OnnxSession::load(&model, &options)?, threads, spinning, Vec::new()));
        }
    }
    // In turns, so that a change of the machine's load meets all settings alike.
    for _ in 0..runs {
        for (session, _, _, times) in &mut settings {
            times.push(time(session)?);
        }
    }
    let mut out = std::io::stdout().lock();
    writeln!(out, "threads  spinning  median_ms  p90_ms  min_ms")?;
    for (_, threads, spinning, mut times) in settings {
        times.sort();
        let ms = |at: usize| times[at.min(runs - 1)].as_secs_f64() * 1e3;
        let threads = threads.map_or(0, NonZeroUsize::get);
        let (median, p90, least) = (ms(runs / 2), ms(runs * 9 / 10), ms(0));
        writeln!(out, "{threads:7}  {spinning:8}  {median:9.2}  {p90:6.2}  {least:6.2}")?;
    }
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "this program's business is the machine's clock")]
fn time(session: &mut OnnxSession) -> Result<Duration, Box<dyn Error>> {
    let start = std::time::Instant::now();
    session.run()?;
    Ok(start.elapsed())
}
