//! Our tensors mean what ONNX Runtime thinks they mean, and what runs is what was asked for.
//!
//! The tiny models' arithmetic is that of `data/make_tiny.py`.

#![allow(clippy::unwrap_used, reason = "a test that cannot get its data has failed")]

use std::error::Error;
use std::path::PathBuf;

use magpie_inference::{ModelFile, OnnxSession, SessionError, SessionOptions};
use magpie_perception::{InferenceSession, InputMut, Provider};

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
            assert_eq!(values.len(), WIDTH_PX * HEIGHT_PX * 3);
            for (i, target) in values.iter_mut().enumerate() {
                let (x, y) = (i / 3 % WIDTH_PX, i / 3 / WIDTH_PX);
                *target = value(seed, x, y, 2 - i % 3);
            }
        }
        InputMut::RgbF32Nchw(values) => {
            assert_eq!(values.len(), WIDTH_PX * HEIGHT_PX * 3);
            for (i, target) in values.iter_mut().enumerate() {
                let (x, y) = (i % WIDTH_PX, i / WIDTH_PX % HEIGHT_PX);
                let channel = i / WIDTH_PX / HEIGHT_PX;
                *target = f32::from(value(seed, x, y, channel)) / 255.0;
            }
        }
    }
}

/// Output `k` of all cells of `stride` px, row by row.
fn cells(seed: usize, k: usize, stride: usize) -> Vec<f32> {
    let mut found = Vec::new();
    for top in (0..HEIGHT_PX).step_by(stride) {
        for left in (0..WIDTH_PX).step_by(stride) {
            let pixels = (0..stride * stride).map(|i| {
                f32::from(value(seed, left + i % stride, top + i / stride, k % 3)) / 255.0
            });
            found.push((k + 1) as f32 * pixels.sum::<f32>() / (stride * stride) as f32);
        }
    }
    found
}

fn check_close(found: &[f32], expected: &[f32], what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (i, (found, expected)) in found.iter().zip(expected).enumerate() {
        let error = (found - expected).abs();
        assert!(error <= 1e-4 * expected.abs().max(1.0), "{what} {i}: {found}, not {expected}");
    }
}

fn check_arithmetic(name: &str) {
    let mut session = session(name);
    // A second picture, so that a binding that kept the first one would show.
    for seed in [0, 100] {
        fill(&mut session, seed);
        let outputs = session.run().unwrap();
        let predictions: Vec<f32> = (0..38)
            .flat_map(|k| [8, 16, 32].map(|stride| cells(seed, k, stride)).concat())
            .collect();
        check_close(outputs.predictions.as_slice().unwrap(), &predictions, "prediction");
        let prototypes: Vec<f32> = (0..32).flat_map(|k| cells(seed, k, 4)).collect();
        check_close(outputs.prototypes.as_slice().unwrap(), &prototypes, "prototype");
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
