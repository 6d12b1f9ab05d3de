use super::*;

const CLASSES: [&str; 4] = ["box", "padded_mailer", "poly_bag", "item"];

fn numbers(values: &[f64]) -> String {
    values.iter().map(|value| format!("{value:.2}")).collect::<Vec<_>>().join(" ")
}

fn told(placed: &Placed) -> String {
    let edges = numbers(&placed.edges);
    match &placed.outline {
        Outline::Runs(mask) => format!("runs {edges}: {}", mask.to_coco_string()),
        Outline::Polygons(pieces) => {
            let pieces: Vec<String> = pieces.iter().map(|piece| numbers(piece)).collect();
            let kind = if placed.outlined { "outline" } else { "rectangle" };
            format!("{kind} {edges}: {}", pieces.join(" | "))
        }
    }
}

/// What `file` says, a line for each thing; the Python side writes the very same lines.
fn normal_form(file: &Path, mapping: &[(String, String)]) -> String {
    let classes = CLASSES.map(str::to_owned);
    let document = match Document::read(file) {
        Ok(document) => document,
        Err(error) => return format!("refused {}\n", error.root_cause()),
    };
    let reading = read(&document, Naming { classes: &classes, mapping }).unwrap();
    let mut lines: Vec<String> =
        mapping.iter().map(|(name, target)| format!("map {name}={target}")).collect();
    for picture in &reading.pictures {
        let Labelled { path, width_px, height_px, .. } = picture;
        lines.push(format!("picture {} {width_px}x{height_px}", path.display()));
        lines.extend(
            picture.packages.iter().map(|(name, placed)| format!("  {name} {}", told(placed))),
        );
        lines.extend(picture.crowds.iter().map(|placed| {
            format!("  crowd {}", told(placed)).replace("crowd rectangle", "crowd outline")
        }));
    }
    lines.extend(reading.problems.iter().map(|problem| format!("problem {problem}")));
    lines.extend(reading.notes.iter().map(|note| format!("note {note}")));
    assert_eq!(reading.unknown, [""; 0]);
    let folder = format!("{}/", file.parent().unwrap().display());
    lines.join("\n").replace(&folder, "") + "\n"
}

#[test]
fn labels_are_read_as_they_are_learned() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/labels");
    let folder = folder.canonicalize().unwrap();
    let files = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> =
        files.filter(|path| path.extension().is_some_and(|end| end == "json")).collect();
    files.sort();
    assert!(files.len() > 20, "{files:?}");
    for file in files {
        let stem = file.file_stem().unwrap().to_string_lossy().into_owned();
        let expected = folder.join("expected").join(format!("{stem}.txt"));
        let expected = std::fs::read_to_string(expected).unwrap();
        let asked = expected.lines().filter_map(|line| line.strip_prefix("map ")?.split_once('='));
        let mapping: Vec<(String, String)> =
            asked.map(|(name, target)| (name.to_owned(), target.to_owned())).collect();
        assert_eq!(normal_form(&file, &mapping), expected, "{stem}");
    }
}

#[test]
fn a_name_for_nothing_known_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("labels.json");
    let text =
        r#"{"images": [{"id": 1, "file_name": "a.png"}], "annotations": [], "categories": []}"#;
    std::fs::write(&file, text).unwrap();
    let document = Document::read(&file).unwrap();
    let (classes, mapping) = (["box".to_owned()], [("carton".to_owned(), "crate".to_owned())]);
    let refused = read(&document, Naming { classes: &classes, mapping: &mapping });
    let told = refused.err().unwrap().to_string();
    assert_eq!(told, "--map: \"crate\" is none of box, none");
    for broken in ["{", "[]", r#"{"images": []}"#] {
        std::fs::write(&file, broken).unwrap();
        let told = format!("{:#}", Document::read(&file).err().unwrap());
        assert!(told.contains("labels.json") && told.contains("COCO"), "{told}");
    }
}
