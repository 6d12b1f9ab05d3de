//! Every file that breaks the model contract is refused with a message of its own.
//!
//! The broken files are edits of `tiny_bgr8.onnx`, made with the crate's own subset of ONNX.

#![allow(clippy::unwrap_used, reason = "a test that cannot get its data has failed")]

use std::fs;
use std::path::Path;

use magpie_inference::{MODEL_BYTES_MAX, ModelError, ModelFile, Refusal};
use magpie_perception::{InputForm, OutputLayout};
use prost::Message;

#[allow(unreachable_pub, reason = "generated")]
mod onnx {
    include!(concat!(env!("OUT_DIR"), "/onnx_subset.rs"));
}
use onnx::{Attribute, Dimension, Entry, Function, GraphProto, Model, Node, SparseTensor, Tensor};
use onnx::{TrainingInfo, dimension::Value};

const TINY: &[u8] = include_bytes!("data/tiny_bgr8.onnx");
const TINY_FLOAT: &[u8] = include_bytes!("data/tiny_rgb_f32.onnx");

fn refusal_of(bytes: &[u8]) -> Refusal {
    let err = ModelFile::from_bytes("broken", bytes.to_vec(), None).expect_err("a refusal");
    assert_eq!(err.model, "broken");
    err.refusal
}

fn check(edit: impl FnOnce(&mut Model), expected: &str) {
    let mut model = Model::decode(TINY).unwrap();
    edit(&mut model);
    let found = refusal_of(&model.encode_to_vec()).to_string();
    assert_eq!(found, expected);
}

fn check_accepted(edit: impl FnOnce(&mut Model)) -> ModelFile {
    let mut model = Model::decode(TINY).unwrap();
    edit(&mut model);
    ModelFile::from_bytes("edited", model.encode_to_vec(), None).unwrap()
}

fn graph(model: &mut Model) -> &mut GraphProto {
    model.graph.as_mut().unwrap()
}

fn set(model: &mut Model, key: &str, value: &str) {
    remove(model, key);
    model.metadata_props.push(Entry { key: key.into(), value: value.into() });
}

fn remove(model: &mut Model, key: &str) {
    model.metadata_props.retain(|entry| entry.key != key);
}

/// The declared shape of an input or output.
fn shape<'a>(model: &'a mut Model, name: &str) -> &'a mut Vec<Dimension> {
    let graph = graph(model);
    let port = graph.input.iter_mut().chain(&mut graph.output).find(|info| info.name == name);
    let tensor = port.unwrap().r#type.as_mut().unwrap().tensor_type.as_mut().unwrap();
    &mut tensor.shape.as_mut().unwrap().dim
}

fn set_element_type(model: &mut Model, name: &str, code: i32) {
    let graph = graph(model);
    let port = graph.input.iter_mut().chain(&mut graph.output).find(|info| info.name == name);
    port.unwrap().r#type.as_mut().unwrap().tensor_type.as_mut().unwrap().elem_type = code;
}

fn sizes(sizes: &[i64]) -> Vec<Dimension> {
    sizes.iter().map(|size| Dimension { value: Some(Value::DimValue(*size)) }).collect()
}

fn outside(name: &str) -> Tensor {
    let entry = Entry { key: "location".into(), value: "../../etc/passwd".into() };
    Tensor { name: name.into(), data_location: 1, external_data: vec![entry] }
}

#[test]
fn a_file_that_keeps_the_contract_says_what_it_is() {
    let model = ModelFile::from_bytes("tiny", TINY.to_vec(), None).unwrap();
    let spec = model.spec();
    assert_eq!((spec.name.as_str(), spec.input_form), ("tiny", InputForm::Bgr8Nhwc));
    assert_eq!((spec.width_px, spec.height_px), (64, 32));
    assert_eq!((spec.prototype_width_px, spec.prototype_height_px), (16, 8));
    assert_eq!((spec.coefficients, spec.predictions_shape[1]), (32, 32 + 8 + 2));
    assert_eq!(spec.class_names, ["box", "driver's parcel"]);
    assert_eq!(spec.score_min, Some(0.3));
    assert!(model.metadata().contains(&("stride".to_owned(), "32".to_owned())));

    let float = ModelFile::from_bytes("tiny", TINY_FLOAT.to_vec(), None).unwrap();
    assert_eq!(float.spec().input_form, InputForm::RgbF32Nchw);
    assert_eq!((float.spec().predictions_shape[1], float.spec().coefficients), (42, 32));
    assert_ne!(float.spec().sha256, spec.sha256);
}

fn check_path(path: &Path, expected: &str) {
    let ModelError { model, refusal } = ModelFile::read(path, None).expect_err("a refusal");
    assert_eq!(model, path.display().to_string());
    assert_eq!(refusal.to_string(), expected);
}

#[test]
fn a_path_that_leads_to_no_file_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    check_path(
        &folder.path().join("nowhere.onnx"),
        "no such file; check the path, or name no model to get the shipped one",
    );
    check_path(folder.path(), "not a regular file; name the .onnx file itself");
    check_path(
        Path::new("/proc/self/mem/model.onnx"),
        "the file cannot be read; check that the user who runs magpie may read it",
    );
}

#[test]
fn a_file_beyond_the_limit_is_refused_unread() {
    let file = tempfile::NamedTempFile::new().unwrap();
    // Sparse: it takes no space.
    file.as_file().set_len(MODEL_BYTES_MAX + 1).unwrap();
    check_path(
        file.path(),
        "1073741825 bytes, where 1073741824 are the most; export a smaller model",
    );
}

#[test]
fn a_file_that_is_not_a_whole_onnx_model_is_refused_wherever_it_breaks() {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), &TINY[..TINY.len() / 2]).unwrap();
    check_path(
        file.path(),
        "not a whole ONNX file (1080 bytes); copy it again, or export it with \
         `yolo export format=onnx`",
    );
    fs::write(file.path(), "").unwrap();
    check_path(file.path(), "no graph in 0 bytes: truncated, or not an ONNX model; copy it again");
    // The one cut that cannot show takes the last, optional metadata entry as a whole.
    let passing: Vec<ModelFile> = (0..TINY.len())
        .filter_map(|end| ModelFile::from_bytes("cut", TINY[..end].to_vec(), None).ok())
        .collect();
    assert!(passing.len() == 1 && passing[0].spec().score_min.is_none(), "{passing:?}");
    for other in [&b"<!DOCTYPE html><html>"[..], b"PK\x03\x04 a checkpoint", b"\x89PNG\r\n\x1a\n"] {
        assert!(matches!(refusal_of(other), Refusal::NotOnnx { .. } | Refusal::NoGraph { .. }));
    }
}

#[test]
fn the_hash_must_be_the_expected_one() {
    let read = |hash: &str| ModelFile::from_bytes("tiny", TINY.to_vec(), Some(hash));
    let sha256 = ModelFile::from_bytes("tiny", TINY.to_vec(), None).unwrap().spec().sha256.clone();
    assert!(read(&sha256).is_ok() && read(&sha256.to_uppercase()).is_ok());
    let other = "0".repeat(64);
    assert_eq!(
        read(&other).unwrap_err().refusal.to_string(),
        format!(
            "sha256 is {sha256}, expected {other}; copy the file again, or expect the new hash \
             if the change was meant"
        )
    );
    assert!(read(&sha256[..8]).is_err(), "a part of the hash is not the hash");
}

#[test]
fn the_hash_is_that_of_the_file() {
    // `sha256sum` of three bytes that every implementation's tests know.
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), "abc").unwrap();
    let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    let refusal = ModelFile::read(file.path(), Some(&expected.replace('b', "c"))).unwrap_err();
    assert!(refusal.refusal.to_string().starts_with(&format!("sha256 is {expected},")));
}

#[test]
fn weights_in_another_file_are_found_wherever_they_hide() {
    fn check_hidden(edit: impl FnOnce(&mut Model)) {
        check(
            edit,
            "the weights of \"w\" lie in another file; one file must hold them all: \
             `onnx.save(model, path, save_as_external_data=False)`",
        );
    }
    let in_attribute = |attribute| Node { attribute: vec![attribute], ..Node::default() };
    let constant = || in_attribute(Attribute { t: Some(outside("w")), ..Attribute::default() });
    let sparse = || SparseTensor { values: Some(outside("w")), indices: None };

    check_hidden(|model| graph(model).initializer.push(outside("w")));
    check_hidden(|model| graph(model).sparse_initializer.push(sparse()));
    check_hidden(|model| graph(model).node.push(constant()));
    check_hidden(|model| {
        let attribute = Attribute { tensors: vec![outside("w")], ..Attribute::default() };
        graph(model).node.push(in_attribute(attribute));
    });
    check_hidden(|model| {
        let attribute = Attribute { sparse_tensors: vec![sparse()], ..Attribute::default() };
        graph(model).node.push(in_attribute(attribute));
    });
    check_hidden(|model| {
        let branch = GraphProto { initializer: vec![outside("w")], ..GraphProto::default() };
        let attribute = Attribute { g: Some(branch), ..Attribute::default() };
        graph(model).node.push(in_attribute(attribute));
    });
    check_hidden(|model| {
        let branch = GraphProto { node: vec![constant()], ..GraphProto::default() };
        let attribute = Attribute { graphs: vec![branch], ..Attribute::default() };
        graph(model).node.push(in_attribute(attribute));
    });
    check_hidden(|model| {
        model.functions.push(Function { node: vec![constant()], ..Function::default() });
    });
    check_hidden(|model| {
        let initialization =
            Some(GraphProto { initializer: vec![outside("w")], ..GraphProto::default() });
        model.training_info.push(TrainingInfo { initialization, algorithm: None });
    });
    // Either sign of it is enough.
    check_hidden(|model| {
        graph(model).initializer.push(Tensor { external_data: vec![], ..outside("w") });
    });
    check_hidden(|model| {
        graph(model).initializer.push(Tensor { data_location: 0, ..outside("w") })
    });
}

#[test]
fn operators_from_outside_onnx_runtime_are_refused_and_functions_of_the_file_are_not() {
    let node = |domain: &str, op: &str| Node {
        domain: domain.into(),
        op_type: op.into(),
        ..Node::default()
    };
    check(
        |model| graph(model).node.push(node("acme", "Nms")),
        "operator \"Nms\" is of the domain \"acme\", which needs code from outside ONNX Runtime; \
         export with standard operators",
    );
    check(
        |model| graph(model).node.push(node("com.microsoft", "EPContext")),
        "operator \"EPContext\" is of the domain \"com.microsoft\", which needs code from outside \
         ONNX Runtime; export with standard operators",
    );
    check_accepted(|model| {
        graph(model).node.push(node("pkg.torch", "Silu"));
        let (name, domain) = ("Silu".into(), "pkg.torch".into());
        model.functions.push(Function { name, domain, ..Function::default() });
    });
}

#[test]
fn each_missing_key_is_named() {
    for key in ["task", "names", "imgsz", "stride"] {
        check(
            |model| remove(model, key),
            &format!(
                "metadata key {key:?} is missing; export with Ultralytics, or set it with \
                 `onnx.helper.set_model_props`"
            ),
        );
    }
    assert_eq!(check_accepted(|m| remove(m, "magpie.score_min")).spec().score_min, None);
}

#[test]
fn values_that_make_no_sense_are_quoted() {
    check(
        |model| set(model, "task", "detect"),
        "the task is \"detect\", expected \"segment\"; train and export a -seg model",
    );
    check(
        |model| set(model, "names", "{0: 'box', 2: 'item'}"),
        "metadata key \"names\" is \"{0: 'box', 2: 'item'}\"; write it as Ultralytics does",
    );
    check(
        |model| set(model, "imgsz", &"9".repeat(100)),
        &format!(
            "metadata key \"imgsz\" is \"{}...\"; write it as Ultralytics does",
            "9".repeat(60)
        ),
    );
    for stride in ["0", "24", "-32", "32.0"] {
        check(
            |model| set(model, "stride", stride),
            &format!(
                "metadata key \"stride\" is {stride:?}; a power of two from 4 to 256 expected"
            ),
        );
    }
    for score in ["high", "1.5", "NaN"] {
        check(
            |model| set(model, "magpie.score_min", score),
            &format!(
                "metadata key \"magpie.score_min\" is {score:?}; a number from 0 to 1 expected"
            ),
        );
    }
}

#[test]
fn another_layout_is_refused_with_its_shapes() {
    const EXPECTED: &str = "; expected one input, prototypes [1, 32, height / 4, width / 4] and \
        predictions, [1, 4 + classes + 32, anchors] or [1, findings, 6 + 32]: export a YOLO-seg \
        model";
    check(|model| drop(graph(model).output.pop()), &format!("outputs [1, 38, 42]{EXPECTED}"));
    check(
        |model| *shape(model, "prototypes") = sizes(&[1, 300, 38]),
        &format!("outputs [1, 38, 42], [1, 300, 38]{EXPECTED}"),
    );
    check(
        |model| {
            // What is not Ultralytics' has no metadata, and open shapes.
            model.metadata_props.clear();
            shape(model, "predictions")[1].value = Some(Value::DimParam("n".into()));
            let masks = graph(model).output[1].clone();
            graph(model).output.push(masks);
        },
        &format!(
            "outputs [1, n, 42], [1, 32, 8, 16], [1, 32, 8, 16], as of Mask R-CNN or RTMDet-Ins, \
             which are not read{EXPECTED}"
        ),
    );
    check(
        |model| {
            let again = graph(model).input[0].clone();
            graph(model).input.push(again);
        },
        &format!("2 inputs{EXPECTED}"),
    );
    check(
        |model| graph(model).output[0].r#type = None,
        &format!("\"predictions\" is not a tensor of a known rank{EXPECTED}"),
    );
    // Old exporters repeat the weights among the inputs.
    check_accepted(|model| {
        let mut weight = graph(model).input[0].clone();
        weight.name = graph(model).initializer[0].name.clone();
        graph(model).input.push(weight);
    });
}

#[test]
fn other_element_types_are_refused() {
    check(
        |model| set_element_type(model, "images", 3),
        "\"images\" holds int8, expected uint8 (BGR), float32 or float16 (RGB); quantize what lies \
         between alone",
    );
    check(
        |model| set_element_type(model, "predictions", 11),
        "\"predictions\" holds float64, expected float32 or float16; quantize what lies between \
         alone",
    );
    check(
        |model| set_element_type(model, "prototypes", 99),
        "\"prototypes\" holds element type 99, expected float32 or float16; quantize what lies \
         between alone",
    );
}

#[test]
fn halves_are_floats_and_findings_in_rows_are_told_by_their_shape() {
    let half = check_accepted(|model| {
        set_element_type(model, "predictions", 10);
        set_element_type(model, "prototypes", 10);
    });
    assert_eq!(half.spec().output_layout, OutputLayout::YoloSeg);
    for rows in [1, 41, 300, 1000] {
        let model = check_accepted(|model| *shape(model, "predictions") = sizes(&[1, rows, 38]));
        assert_eq!(model.spec().output_layout, OutputLayout::YoloSegEndToEnd);
        assert_eq!(model.spec().predictions_shape, [usize::try_from(rows).unwrap(), 38]);
    }
}

#[test]
fn as_many_rows_as_anchors_are_a_transposed_yolo_unless_the_file_says_that_they_are_found() {
    let transposed = |model: &mut Model| *shape(model, "predictions") = sizes(&[1, 42, 38]);
    check(
        transposed,
        "predictions have the shape [1, 42, 38], those of YOLO-seg transposed: leave the \
         transposition out; rows that are found end to end say so by `end2end = True`",
    );
    for (key, value) in [("end2end", "True"), ("args", "{'batch': 1, 'nms': True}")] {
        let model = check_accepted(|model| {
            transposed(model);
            model.metadata_props.push(Entry { key: key.into(), value: value.into() });
        });
        assert_eq!(model.spec().output_layout, OutputLayout::YoloSegEndToEnd);
    }
}

#[test]
fn a_batch_is_refused_with_the_option_to_change() {
    check(
        |model| {
            *shape(model, "images") = sizes(&[4, 32, 64, 3]);
            *shape(model, "predictions") = sizes(&[4, 38, 42]);
            *shape(model, "prototypes") = sizes(&[4, 32, 8, 16]);
        },
        "the model takes 4 pictures at a time; export with `batch=1`",
    );
}

#[test]
fn open_shapes_are_refused() {
    check(
        |model| shape(model, "images")[0].value = Some(Value::DimParam("batch".into())),
        "\"images\" has the open shape [batch, 32, 64, 3]; export with `dynamic=False` and a \
         fixed imgsz",
    );
    check(
        |model| shape(model, "predictions")[2].value = None,
        "\"predictions\" has the open shape [1, 38, ?]; export with `dynamic=False` and a fixed \
         imgsz",
    );
    check(
        |model| shape(model, "prototypes")[1].value = Some(Value::DimValue(-1)),
        "\"prototypes\" has the open shape [1, -1, 8, 16]; export with `dynamic=False` and a \
         fixed imgsz",
    );
}

fn check_shape(edit: impl FnOnce(&mut Model), what: &str) {
    check(edit, &format!("{what}; export the model again"));
}

#[test]
fn shapes_that_contradict_each_other_are_refused() {
    check_shape(
        |model| set(model, "imgsz", "[64, 32]"),
        "\"images\" has the shape [1, 32, 64, 3], expected [1, 64, 32, 3] by its type and `imgsz`",
    );
    check_shape(
        |model| *shape(model, "images") = sizes(&[1, 3, 32, 64]),
        "\"images\" has the shape [1, 3, 32, 64], expected [1, 32, 64, 3] by its type and `imgsz`",
    );
    check_shape(
        |model| set_element_type(model, "images", 1),
        "\"images\" has the shape [1, 32, 64, 3], expected [1, 3, 32, 64] by its type and `imgsz`",
    );
    check_shape(
        |model| *shape(model, "prototypes") = sizes(&[1, 32, 16, 8]),
        "\"prototypes\" has the shape [1, 32, 16, 8], expected [1, 32, 8, 16] by `imgsz`",
    );
    check_shape(
        |model| *shape(model, "predictions") = sizes(&[1, 38, 41]),
        "\"predictions\" has the shape [1, 38, 41], expected [1, 38, 170 or 42 or 10 or 2] by \
         `imgsz` and `stride`, or [1, findings, 38]",
    );
    check(
        |model| set(model, "stride", "64"),
        "`imgsz` [32, 64] does not divide into cells of 64 px, its `stride`; export with an imgsz \
         in multiples of 64",
    );
}

#[test]
fn names_must_be_those_of_the_training() {
    check(
        |model| set(model, "names", "{0: 'box'}"),
        "predictions have 38 channels, expected 37: 4 for the box, 1 for the classes in `names`, \
         32 for the mask; make `names` those of the training",
    );
}
