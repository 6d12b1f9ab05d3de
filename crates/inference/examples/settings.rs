//! How long one run of a model takes under each setting of ONNX Runtime, against the one that
//! magpie uses.
//!
//! ```sh
//! ORT_DYLIB_PATH=... cargo run --release -p magpie-inference --example settings -- MODEL [RUNS]
//! ```

use std::error::Error;
use std::io::Write;
use std::path::Path;

use magpie_inference::ModelFile;
use magpie_perception::InputForm;
use ort::ep;
use ort::memory::Allocator;
use ort::session::builder::{GraphOptimizationLevel, SessionBuilder};
use ort::session::{IoBinding, Session};
use ort::value::{DynTensor, Tensor, TensorRef};

type Outcome<T> = Result<T, Box<dyn Error>>;

/// One way to run the model.
struct Candidate {
    name: &'static str,
    session: Session,
    /// `None`: outputs are allocated anew in each run.
    binding: Option<IoBinding>,
    times_ms: Vec<f64>,
}

fn main() -> Outcome<()> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().ok_or("usage: settings MODEL [RUNS]")?;
    let runs: usize = arguments.next().map_or(Ok(60), |runs| runs.parse())?;
    let spec = ModelFile::read(Path::new(&path), None)?.spec().clone();
    let library = std::env::var("ORT_DYLIB_PATH").map_err(|_| "set ORT_DYLIB_PATH")?;
    let environment = ort::init_from(library)?.with_telemetry(false).build()?;
    environment.set_log_level(ort::logging::LogLevel::Warning);

    let (w, h) = (spec.width_px as usize, spec.height_px as usize);
    let bytes = spec.input_form == InputForm::Bgr8Nhwc;
    let (mut pixels, mut floats) = (vec![0u8; 3 * w * h], vec![0f32; 3 * w * h]);
    for (i, (pixel, float)) in pixels.iter_mut().zip(&mut floats).enumerate() {
        *pixel = (i * 31 % 251).to_le_bytes()[0];
        *float = f32::from(*pixel) / 255.0;
    }
    let input = || -> ort::Result<DynTensor> {
        Ok(if bytes {
            Tensor::from_array(([1, h, w, 3], pixels.clone()))?.upcast()
        } else {
            Tensor::from_array(([1, 3, h, w], floats.clone()))?.upcast()
        })
    };

    let folder = tempfile::tempdir()?;
    let optimised = folder.path().join("optimised.onnx");
    let baseline = || -> ort::Result<SessionBuilder> {
        Ok(Session::builder(&environment)?
            .with_optimization_level(GraphOptimizationLevel::All)?
            .with_intra_threads(std::thread::available_parallelism().map_or(1, usize::from))?
            .with_intra_op_spinning(false)?
            .with_memory_pattern(true)?
            .with_deterministic_compute(true)?)
    };
    baseline()?.with_optimized_model_path(&optimised)?.commit_from_file(&path)?;
    let no_arena = [ep::CPU::default().with_arena_allocator(false).build()];
    let settings: Vec<(&'static str, SessionBuilder, &Path, bool)> = vec![
        ("as magpie runs it", baseline()?, Path::new(&path), true),
        ("one thread", baseline()?.with_intra_threads(1)?, Path::new(&path), true),
        ("spinning", baseline()?.with_intra_op_spinning(true)?, Path::new(&path), true),
        ("no binding", baseline()?, Path::new(&path), false),
        ("no arena", baseline()?.with_execution_providers(no_arena)?, Path::new(&path), true),
        ("no memory pattern", baseline()?.with_memory_pattern(false)?, Path::new(&path), true),
        (
            "graph optimised to level 1 only",
            baseline()?.with_optimization_level(GraphOptimizationLevel::Level1)?,
            Path::new(&path),
            true,
        ),
        (
            "graph optimised before, not when loaded",
            baseline()?.with_optimization_level(GraphOptimizationLevel::Disable)?,
            &optimised,
            true,
        ),
        (
            "not deterministic",
            baseline()?.with_deterministic_compute(false)?,
            Path::new(&path),
            true,
        ),
        ("denormals are zero", baseline()?.with_flush_to_zero()?, Path::new(&path), true),
    ];
    let mut candidates = Vec::new();
    for (name, mut builder, path, bound) in settings {
        let session = builder.commit_from_file(path)?;
        let binding = if bound { Some(bind(&session, &input()?)?) } else { None };
        candidates.push(Candidate { name, session, binding, times_ms: Vec::new() });
    }
    for run in 0..runs + 3 {
        // In turns, so that a change of the machine's load meets all settings alike.
        for candidate in &mut candidates {
            let ms = candidate.run(bytes, &pixels, &floats, (w, h))?;
            // Threads that spin go on for a while, and would take a core from the next one.
            std::thread::sleep(std::time::Duration::from_millis(50));
            if run >= 3 {
                candidate.times_ms.push(ms);
            }
        }
    }
    print(candidates)
}

fn bind(session: &Session, input: &DynTensor) -> ort::Result<IoBinding> {
    let mut binding = session.create_binding()?;
    binding.bind_input(session.inputs()[0].name(), input)?;
    for output in session.outputs() {
        let shape: Vec<i64> = output.dtype().tensor_shape().expect("a tensor").to_vec();
        binding.bind_output(
            output.name(),
            Tensor::<f32>::new(&Allocator::default(), shape.as_slice())?,
        )?;
    }
    Ok(binding)
}

impl Candidate {
    #[expect(clippy::disallowed_methods, reason = "this program's business is the machine's clock")]
    fn run(
        &mut self,
        bytes: bool,
        pixels: &[u8],
        floats: &[f32],
        (w, h): (usize, usize),
    ) -> ort::Result<f64> {
        let start = std::time::Instant::now();
        match &self.binding {
            Some(binding) => drop(self.session.run_binding(binding)?),
            None if bytes => {
                let input = TensorRef::from_array_view(([1, h, w, 3], pixels))?;
                self.session.run(ort::inputs![input])?;
            }
            None => {
                let input = TensorRef::from_array_view(([1, 3, h, w], floats))?;
                self.session.run(ort::inputs![input])?;
            }
        }
        Ok(start.elapsed().as_secs_f64() * 1e3)
    }
}

fn print(candidates: Vec<Candidate>) -> Outcome<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "| setting | p50 ms | p90 ms | least ms | p50 / p50 of the first |")?;
    writeln!(out, "|---|---|---|---|---|")?;
    let mut baseline_ms = None;
    for Candidate { name, mut times_ms, .. } in candidates {
        times_ms.sort_by(f64::total_cmp);
        let at = |percent: usize| times_ms[(times_ms.len() - 1) * percent / 100];
        let baseline = *baseline_ms.get_or_insert_with(|| at(50));
        let (p50, p90, least) = (at(50), at(90), at(0));
        writeln!(out, "| {name} | {p50:.2} | {p90:.2} | {least:.2} | {:.3} |", p50 / baseline)?;
    }
    Ok(())
}
