//! Execution providers: what ONNX Runtime calls them, how they are asked for, and what to do when
//! one is not there.

use std::path::{Path, PathBuf};

use magpie_perception::Provider;
use ort::ep::{self, ExecutionProviderDispatch};
use sha2::{Digest, Sha256};

/// Returns ONNX Runtime's own name.
pub(crate) fn runtime_name(provider: Provider) -> &'static str {
    match provider {
        Provider::Cpu => "CPUExecutionProvider",
        Provider::Cuda => "CUDAExecutionProvider",
        Provider::TensorRt => "TensorrtExecutionProvider",
        Provider::OpenVino => "OpenVINOExecutionProvider",
    }
}

/// Lists what to register for `provider`; each fails loudly. The CPU is always there.
pub(crate) fn registrations(
    provider: Provider,
    engine_cache: Option<&Path>,
) -> Vec<ExecutionProviderDispatch> {
    let cuda = || ep::CUDA::default().build();
    let asked = match provider {
        Provider::Cpu => vec![],
        Provider::Cuda => vec![cuda()],
        // What TensorRT leaves out stays on the GPU.
        Provider::TensorRt => vec![tensorrt(engine_cache).build(), cuda()],
        Provider::OpenVino => vec![ep::OpenVINO::default().build()],
    };
    asked.into_iter().map(ExecutionProviderDispatch::error_on_failure).collect()
}

fn tensorrt(engine_cache: Option<&Path>) -> ep::TensorRT {
    match engine_cache {
        None => ep::TensorRT::default(),
        Some(folder) => ep::TensorRT::default()
            .with_engine_cache(true)
            .with_engine_cache_path(folder.display())
            .with_timing_cache(true)
            .with_timing_cache_path(folder.display()),
    }
}

/// Names the folder for the engines of one model and one build of ONNX Runtime; within it, ONNX
/// Runtime names them by the GPU's architecture.
pub(crate) fn engine_cache_folder(root: &Path, model_sha256: &str, runtime_build: &str) -> PathBuf {
    let build: String =
        Sha256::digest(runtime_build).iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    root.join(format!("{}-{build}", &model_sha256[..16]))
}

/// Says what would make the provider available, by ONNX Runtime's complaint.
pub(crate) fn remedy(provider: Provider, complaint: &str) -> &'static str {
    let says = |part: &str| complaint.contains(part);
    if says("in this build") {
        match provider {
            Provider::OpenVino => {
                "the library is built without it: set ORT_DYLIB_PATH to one built with OpenVINO"
            }
            _ => {
                "the library is built without it: take libonnxruntime.so and its \
                 libonnxruntime_providers_*.so from the onnxruntime-gpu wheel and set ORT_DYLIB_PATH"
            }
        }
    } else if says("libnvinfer") || says("libnvonnxparser") {
        "install TensorRT 10, or ask for cuda"
    } else if says("libcuda.so") || says("no CUDA-capable device") || says("driver version") {
        "install the NVIDIA driver and check that `nvidia-smi` lists the GPU"
    } else if says("cannot open shared object file") {
        "install CUDA 13 and cuDNN 9 and make the loader find them (ldconfig)"
    } else {
        "ask for another provider, or allow a fallback"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(provider: Provider, complaint: &str, expected: &str) {
        let found = remedy(provider, complaint);
        assert!(found.contains(expected), "{complaint:?} -> {found:?}");
    }

    #[test]
    fn each_complaint_has_its_remedy() {
        let not_enabled = "CUDA execution provider is not enabled in this build.";
        check(Provider::Cuda, not_enabled, "onnxruntime-gpu");
        let not_supported =
            "OpenVINOExecutionProvider execution provider is not supported in this build. ";
        check(Provider::OpenVino, not_supported, "built with OpenVINO");
        let missing = |library: &str| {
            format!(
                "Failed to load library /x/libonnxruntime_providers_cuda.so with error: \
                 {library}: cannot open shared object file: No such file or directory"
            )
        };
        check(Provider::Cuda, &missing("libcublasLt.so.13"), "CUDA 13");
        check(Provider::Cuda, &missing("libcuda.so.1"), "NVIDIA driver");
        check(Provider::TensorRt, &missing("libnvinfer.so.10"), "TensorRT 10");
        check(Provider::Cuda, "something new", "another provider");
    }

    #[test]
    fn engines_of_other_models_and_other_runtimes_are_never_found() {
        let sha = |digit: &str| digit.repeat(64);
        let folder = |sha: &str, build| engine_cache_folder(Path::new("/var/cache"), sha, build);
        assert_ne!(folder(&sha("a"), "1.31"), folder(&sha("b"), "1.31"));
        assert_ne!(folder(&sha("a"), "1.31"), folder(&sha("a"), "1.32"));
        assert_eq!(folder(&sha("a"), "1.31"), folder(&sha("a"), "1.31"));
    }
}
