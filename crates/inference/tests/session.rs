//! Our tensors mean what ONNX Runtime thinks they mean, and what runs is what was asked for.
//!
//! The tiny models' arithmetic is that of `data/make_tiny.py`.

#![allow(clippy::unwrap_used, reason = "a test that cannot get its data has failed")]

use std::error::Error;
use std::path::PathBuf;
use std::time::Duration;

use magpie_inference::{ModelFile, OnnxSession, SessionError, SessionOptions};
use magpie_perception::{InferenceSession, InputMut, Provider};
use ndarray::{Array2, ArrayView2, ArrayViewMut3, Axis, concatenate};

const WIDTH_PX: usize = 64;
const HEIGHT_PX: usize = 32;

fn model(name: &str) -> ModelFile {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name);
    ModelFile::read(&path, None).unwrap()
}

fn asking(providers: &[Provider], allow_fallback: bool) -> SessionOptions {
    SessionOptions { providers: providers.to_vec(), allow_fallback, ..SessionOptions::default() }
}

fn session(name: &str) -> OnnxSession {
    OnnxSession::load(&model(name), &SessionOptions::default()).unwrap()
}

fn error(name: &str, options: &SessionOptions) -> SessionError {
    OnnxSession::load(&model(name), options).expect_err("an error")
}

/// A value from 0 to 255 that differs in every column, row and channel (0 red, 1 green, 2 blue).
fn value(seed: usize, x: usize, y: usize, channel: usize) -> u8 {
    u8::try_from((seed + 3 * x + 5 * y + 40 * channel + (x * y) % 7) % 256).unwrap()
}

fn fill(session: &mut OnnxSession, seed: usize) {
    match session.input() {
        InputMut::Bgr8Nhwc(values) => {
            let mut image = ArrayViewMut3::from_shape((HEIGHT_PX, WIDTH_PX, 3), values).unwrap();
            for ((y, x, bgr), target) in image.indexed_iter_mut() {
                *target = value(seed, x, y, 2 - bgr);
            }
        }
        InputMut::RgbF32Nchw(values) => {
            let mut image = ArrayViewMut3::from_shape((3, HEIGHT_PX, WIDTH_PX), values).unwrap();
            for ((rgb, y, x), target) in image.indexed_iter_mut() {
                *target = f32::from(value(seed, x, y, rgb)) / 255.0;
            }
        }
    }
}

/// The outputs `[channel, cell]` for cells of `stride` px, row by row: each is a multiple of the
/// mean of its pixels in one colour.
fn cells(seed: usize, channels: usize, stride: usize) -> Array2<f32> {
    let (rows, columns) = (HEIGHT_PX / stride, WIDTH_PX / stride);
    Array2::from_shape_fn((channels, rows * columns), |(channel, cell)| {
        let (top, left) = (cell / columns * stride, cell % columns * stride);
        let pixels = Array2::from_shape_fn((stride, stride), |(y, x)| {
            f32::from(value(seed, left + x, top + y, channel % 3)) / 255.0
        });
        (channel + 1) as f32 * pixels.mean().unwrap()
    })
}

fn check_close(found: &[f32], expected: &Array2<f32>, what: &str) {
    let found = ArrayView2::from_shape(expected.dim(), found).unwrap();
    for (at, (found, expected)) in expected.indexed_iter().map(|(at, e)| (at, (found[at], e))) {
        let error = (found - expected).abs();
        assert!(error <= 1e-4 * expected.abs().max(1.0), "{what} {at:?}: {found}, not {expected}");
    }
}

fn check_arithmetic(name: &str) {
    let mut session = session(name);
    // A second picture, so that a binding that kept the first one would show.
    for seed in [0, 100] {
        fill(&mut session, seed);
        let outputs = session.run().unwrap();
        let grids = [8, 16, 32].map(|stride| cells(seed, 38, stride));
        let grids: Vec<_> = grids.iter().map(|grid| grid.view()).collect();
        let predictions = concatenate(Axis(1), &grids).unwrap();
        check_close(outputs.predictions.as_slice().unwrap(), &predictions, "prediction");
        check_close(outputs.prototypes.as_slice().unwrap(), &cells(seed, 32, 4), "prototype");
    }
}

#[test]
fn bytes_in_bgr_order_row_by_row_are_what_the_model_sees() {
    check_arithmetic("tiny_bgr8.onnx");
}

#[test]
fn floats_in_rgb_planes_are_what_the_model_sees_and_outputs_are_told_apart_by_rank() {
    check_arithmetic("tiny_rgb_f32.onnx");
}

#[test]
fn halves_are_what_the_floats_are_as_far_as_they_go() {
    let (mut half, mut float) = (session("tiny_half.onnx"), session("tiny_rgb_f32.onnx"));
    for seed in [0, 100] {
        fill(&mut half, seed);
        fill(&mut float, seed);
        let (half, float) = (half.run().unwrap(), float.run().unwrap());
        let values = half.predictions.iter().zip(float.predictions);
        for (half, float) in values.chain(half.prototypes.iter().zip(float.prototypes)) {
            // Eleven bits in the input, and as many in the output.
            assert!((half - float).abs() <= 1e-3 * float.abs(), "{half}, not {float}");
        }
    }
}

#[test]
fn findings_are_rows_and_one_of_no_class_is_an_error() {
    let mut rows = session("tiny_end_to_end.onnx");
    fill(&mut rows, 7);
    let mut expected = cells(7, 38, 16);
    expected.row_mut(5).fill(0.0);
    let found = rows.run().unwrap().predictions.t().as_standard_layout().into_owned();
    check_close(found.as_slice().unwrap(), &expected, "prediction");

    let err = error("tiny_unnamed.onnx", &SessionOptions::default());
    let SessionError::WarmUp(err) = err else { panic!("{err}") };
    let cause = err.source().expect("which class").to_string();
    assert!(cause.contains("`names` has 2, counted from 0"), "{cause}");
}

#[test]
fn outputs_stay_where_they_are_from_run_to_run() {
    let mut session = session("tiny_bgr8.onnx");
    let mut places = || {
        let outputs = session.run().unwrap();
        (outputs.predictions.as_ptr(), outputs.prototypes.as_ptr())
    };
    assert_eq!(places(), places());
}

#[test]
fn the_cpu_is_what_was_asked_for_and_what_runs_every_node() {
    let session = session("tiny_bgr8.onnx");
    assert_eq!(session.provider(), Provider::Cpu);
    assert_eq!(session.fallback_reason(), None);
    let placement = session.placement();
    assert_eq!(placement.provider, Provider::Cpu);
    assert!(placement.nodes >= 10, "{placement:?}");
    assert!((placement.share() - 1.0).abs() < 1e-9);
}

/// The library under test has none of these providers.
fn check_absent(provider: Provider, expected_remedy: &str) {
    let err = error("tiny_bgr8.onnx", &asking(&[provider, Provider::Cpu], false));
    let message = err.to_string();
    assert!(message.starts_with(&format!("run tiny_bgr8 on {provider}; ")), "{message}");
    let cause = err.source().expect("ONNX Runtime's own words").to_string();
    assert!(message.contains(expected_remedy), "{message}: {cause}");
    assert!(cause.to_lowercase().contains(provider.name()), "{cause}");
}

#[test]
fn a_provider_that_is_not_there_is_an_error_with_cause_and_remedy() {
    check_absent(Provider::Cuda, "onnxruntime-gpu");
    check_absent(Provider::TensorRt, "onnxruntime-gpu");
    check_absent(Provider::OpenVino, "built with OpenVINO");
}

#[test]
fn an_allowed_fallback_runs_and_says_why() {
    let wanted = [Provider::TensorRt, Provider::Cuda, Provider::Cpu];
    let mut session = OnnxSession::load(&model("tiny_bgr8.onnx"), &asking(&wanted, true)).unwrap();
    assert_eq!(session.provider(), Provider::Cpu);
    let reason = session.fallback_reason().expect("a reason").to_owned();
    assert!(reason.contains("run tiny_bgr8 on tensorrt; "), "{reason}");
    assert!(reason.contains("run tiny_bgr8 on cuda; "), "{reason}");
    assert!(!reason.contains('\n'), "{reason}");
    assert!(session.run().is_ok());
}

#[test]
fn a_list_without_any_provider_that_is_there_is_an_error() {
    let err = error("tiny_bgr8.onnx", &asking(&[Provider::TensorRt, Provider::Cuda], true));
    assert!(err.to_string().contains("on tensorrt"), "{err}");
    let err = error("tiny_bgr8.onnx", &asking(&[], true));
    assert!(matches!(err, SessionError::NoProviderAsked));
}

#[test]
fn outputs_that_are_not_numbers_never_get_past_warm_up() {
    let err = error("tiny_nan.onnx", &SessionOptions::default());
    assert_eq!(
        err.to_string(),
        "tiny_nan on cpu gives predictions that are not finite; its weights are broken"
    );
}

#[test]
fn a_file_that_lies_about_its_shapes_never_gets_past_warm_up() {
    let err = error("tiny_lying.onnx", &SessionOptions::default());
    let SessionError::WarmUp(err) = err else { panic!("{err}") };
    assert_eq!(err.to_string(), "run tiny_lying on cpu");
}

#[test]
fn threads_and_spinning_do_not_change_what_is_computed() {
    let mut outputs = Vec::new();
    for (threads, spinning) in [(1, false), (1, true), (2, false), (2, true)] {
        let threads = std::num::NonZeroUsize::new(threads);
        let options = SessionOptions { threads, spinning, ..SessionOptions::default() };
        let mut session = OnnxSession::load(&model("tiny_bgr8.onnx"), &options).unwrap();
        fill(&mut session, 7);
        outputs.push(session.run().unwrap().predictions.to_owned());
    }
    assert!(outputs.windows(2).all(|pair| pair[0] == pair[1]));
}

#[test]
fn a_session_moves_to_the_thread_that_runs_it() {
    let mut session = session("tiny_bgr8.onnx");
    let thread = std::thread::Builder::new().name("pipeline".into());
    let ran = thread.spawn(move || session.run().is_ok()).unwrap().join().unwrap();
    assert!(ran);
}

/// The library is loaded once per process, so each wrong one gets a process of its own: this very
/// test, started again.
#[test]
fn a_library_that_cannot_be_used_is_named_with_the_remedy() {
    const NAME: &str = "a_library_that_cannot_be_used_is_named_with_the_remedy";
    // One that is not there; one that is no ONNX Runtime.
    let wrong = [("/nowhere/libonnxruntime.so", "No such file"), ("libm.so.6", "OrtGetApiBase")];
    let given = std::env::var("ORT_DYLIB_PATH").unwrap_or_default();
    if let Some((library, expected_cause)) = wrong.into_iter().find(|wrong| wrong.0 == given) {
        let err = error("tiny_bgr8.onnx", &asking(&[Provider::Cpu], true));
        let expected = format!("load ONNX Runtime from {library}; run `scripts/install`, ");
        assert!(err.to_string().starts_with(&expected), "{err}");
        let causes = std::iter::successors(err.source(), |err| (*err).source());
        let causes: Vec<String> = causes.map(ToString::to_string).collect();
        assert!(causes.join(": ").contains(expected_cause), "{causes:?}");
        return;
    }
    for (library, _) in wrong {
        let program = std::env::current_exe().unwrap();
        let mut again = std::process::Command::new(program);
        let output = again.args(["--exact", NAME]).env("ORT_DYLIB_PATH", library).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"));
    }
}

#[test]
fn a_model_that_never_ends_is_given_up_in_time_and_others_load_after_it() {
    let options =
        SessionOptions { load_max: Duration::from_millis(500), ..SessionOptions::default() };
    let error = error("tiny_endless.onnx", &options);
    assert!(matches!(error, SessionError::TooSlow { .. }) && error.may_pass(), "{error}");
    let told = error.to_string();
    assert!(told.contains("tiny_endless within 0.5 s") && told.contains("loop"), "{told}");
    session("tiny_bgr8.onnx");
}
