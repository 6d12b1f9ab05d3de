//! The values of a calibration in YAML or JSON: ROS's files and messages, as `ros2 topic echo` and
//! `rostopic echo` print them, and OpenCV's `FileStorage`.

use magpie_perception::{CameraInfo, Distortion, Intrinsics};
use serde_json::{Map, Value};

use super::problem::CameraInfoProblem;

/// A calibration's text with its keys.
pub(super) struct Fields {
    text: String,
    pub(super) values: Map<String, Value>,
}

/// The names of each value; the first is ROS's own, which messages use.
const WIDTH: &[&str] = &["image_width", "width", "image_Width", "imageWidth"];
const HEIGHT: &[&str] = &["image_height", "height", "image_Height", "imageHeight"];
const MATRIX: &[&str] = &[
    "camera_matrix",
    "K",
    "k",
    "Camera_Matrix",
    "cameraMatrix",
    "CameraMatrix",
    "intrinsic_matrix",
];
const COEFFICIENTS: &[&str] = &[
    "distortion_coefficients",
    "D",
    "d",
    "Distortion_Coefficients",
    "distCoeffs",
    "dist_coeffs",
    "dist_coeff",
];
const RECTIFICATION: &[&str] = &["rectification_matrix", "R", "r"];
const PROJECTION: &[&str] = &["projection_matrix", "P", "p"];
const MODEL: &str = "distortion_model";
/// OpenCV's sample writes 1 for a lens of `cv::fisheye`.
const FISHEYE: &str = "fisheye_model";
const OTHERS: &[&str] =
    &["header", "camera_name", MODEL, FISHEYE, "binning_x", "binning_y", "roi", "frame_id"];

/// The whole sensor's picture, of which a stream may have a part at a lower resolution.
struct Cut {
    left_px: u32,
    top_px: u32,
    width_px: u32,
    height_px: u32,
    binning: [u32; 2],
}

impl Fields {
    /// Reads the first document; a stream of messages repeats it.
    pub(super) fn parse(text: &str) -> Result<Fields, CameraInfoProblem> {
        let yaml = first_document(text);
        // The first line of the reader's message names the place; the others quote the file.
        let value: Value = serde_saphyr::from_str(&yaml).map_err(|error| {
            CameraInfoProblem::Yaml(error.to_string().lines().next().unwrap_or_default().to_owned())
        })?;
        match value {
            Value::Object(values) => Ok(Fields { text: text.to_owned(), values }),
            _ => Err(CameraInfoProblem::Foreign {
                what: "no calibration: it holds no keys".into(),
                remedy: "give a camera_info of ROS, such as `magpie calibrate intrinsics` writes"
                    .into(),
            }),
        }
    }

    pub(super) fn camera_info(&self) -> Result<(CameraInfo, Vec<String>), CameraInfoProblem> {
        let mut doubts = self.check_keys()?;
        let width_px = self.pixels(WIDTH, "the picture's width in pixels")?;
        let height_px = self.pixels(HEIGHT, "the picture's height in pixels")?;
        if width_px == 0 || height_px == 0 {
            return Err(CameraInfoProblem::ImageSize { width_px, height_px });
        }
        let k = self.matrix(MATRIX, 3, 3)?.ok_or(CameraInfoProblem::Missing {
            key: MATRIX[0],
            remedy: ": it holds fx, fy, cx and cy",
        })?;
        let cut = self.cut(width_px, height_px)?;
        for (key, cols) in [(RECTIFICATION, 3), (PROJECTION, 4)] {
            self.matrix(key, 3, cols)?;
        }
        let model = self.model();
        let d = match self.find(COEFFICIENTS) {
            Some((_, value)) => {
                data(value).ok_or_else(|| self.refuse(COEFFICIENTS, "a list of numbers"))?
            }
            None if model.as_ref().is_none_or(String::is_empty) => {
                doubts.push(format!("{} are missing: no distortion is taken", COEFFICIENTS[0]));
                Vec::new()
            }
            None => {
                return Err(CameraInfoProblem::Missing {
                    key: COEFFICIENTS[0],
                    remedy: ": write [] for a lens without distortion",
                });
            }
        };
        if model.is_none() && !d.is_empty() {
            doubts
                .push(format!("{MODEL} is missing: OpenCV's of {} coefficients is taken", d.len()));
        }
        let intrinsics = cut.intrinsics(intrinsics(&k)?);
        let camera_name = self.text("camera_name").unwrap_or_else(|| "unknown".to_owned());
        let in_header = self.values.get("header").and_then(|header| header.get("frame_id"));
        let frame_id = in_header.or_else(|| self.values.get("frame_id"));
        let frame_id = frame_id.and_then(Value::as_str).filter(|name| !name.is_empty());
        let frame_id =
            frame_id.map_or_else(|| format!("{camera_name}_optical_frame"), str::to_owned);
        let info = CameraInfo {
            frame_id,
            width_px: cut.width_px / cut.binning[0],
            height_px: cut.height_px / cut.binning[1],
            intrinsics,
            distortion: Distortion::named(&model.unwrap_or_default(), &d)?,
            camera_name,
        };
        Ok((info, doubts))
    }

    fn model(&self) -> Option<String> {
        let fisheye = self.values.get(FISHEYE).is_some_and(|value| match value {
            Value::Bool(is) => *is,
            other => other.as_f64().is_some_and(|value| value != 0.0),
        });
        if fisheye { Some("fisheye".into()) } else { self.text(MODEL) }
    }

    /// Refuses keys that are probably misspelt, and names the others that mean nothing here.
    fn check_keys(&self) -> Result<Vec<String>, CameraInfoProblem> {
        let named = [WIDTH, HEIGHT, MATRIX, COEFFICIENTS, RECTIFICATION, PROJECTION, OTHERS];
        let known = || named.into_iter().flatten().copied();
        let unknown: Vec<&String> =
            self.values.keys().filter(|key| !known().any(|known| known == key.as_str())).collect();
        for key in &unknown {
            let meant = known().find(|known| {
                known.len() > 5 && !self.values.contains_key(*known) && differ_little(known, key)
            });
            if let Some(meant) = meant {
                let (line, found) = (self.line(key), (*key).clone());
                return Err(CameraInfoProblem::Misspelt { line, found, meant });
            }
        }
        if unknown.is_empty() {
            return Ok(Vec::new());
        }
        let names: Vec<&str> = unknown.iter().map(|key| key.as_str()).collect();
        Ok(vec![format!("not used: {}", names.join(", "))])
    }

    /// The stream's part of the sensor. ROS counts binning 0 as 1 and an all-zero region as all.
    fn cut(&self, width_px: u32, height_px: u32) -> Result<Cut, CameraInfoProblem> {
        let whole = |value: Option<&Value>, key: &str| match value {
            None | Some(Value::Null) => Ok(0),
            Some(value) => pixels(value).ok_or_else(|| CameraInfoProblem::Value {
                line: self.line(key),
                key: key.to_owned(),
                expected: "a whole number",
            }),
        };
        let binning = |key: &str| whole(self.values.get(key), key).map(|by| by.max(1));
        let binning = [binning("binning_x")?, binning("binning_y")?];
        let region = self.values.get("roi");
        let of = |key: &str| whole(region.and_then(|region| region.get(key)), key);
        let [left_px, top_px] = [of("x_offset")?, of("y_offset")?];
        let (width, height) = match (of("width")?, of("height")?) {
            (0, 0) => (width_px, height_px),
            size => size,
        };
        let [right, bottom] = [(left_px, width), (top_px, height)]
            .map(|(from, size)| u64::from(from) + u64::from(size));
        if right > u64::from(width_px) || bottom > u64::from(height_px) {
            return Err(CameraInfoProblem::Region {
                x_px: right,
                y_px: bottom,
                width_px,
                height_px,
            });
        }
        let cut = Cut { left_px, top_px, width_px: width, height_px: height, binning };
        if width < binning[0] || height < binning[1] {
            let [width_px, height_px] = [width / binning[0], height / binning[1]];
            return Err(CameraInfoProblem::ImageSize { width_px, height_px });
        }
        Ok(cut)
    }

    fn find(&self, names: &[&'static str]) -> Option<(&'static str, &Value)> {
        names.iter().find_map(|name| Some((*name, self.values.get(*name)?)))
    }

    pub(super) fn text(&self, key: &str) -> Option<String> {
        match self.values.get(key)? {
            Value::String(text) => Some(text.clone()),
            Value::Null => Some(String::new()),
            other => Some(other.to_string()),
        }
    }

    fn pixels(
        &self,
        names: &'static [&'static str],
        expected: &'static str,
    ) -> Result<u32, CameraInfoProblem> {
        let (key, value) = self.find(names).ok_or(CameraInfoProblem::Missing {
            key: names[0],
            remedy: ": write the picture's width and height into the file as image_width and \
                     image_height",
        })?;
        pixels(value).ok_or_else(|| self.refuse(&[key], expected))
    }

    fn refuse(&self, names: &[&'static str], expected: &'static str) -> CameraInfoProblem {
        let key = self.find(names).map_or(names[0], |(key, _)| key);
        CameraInfoProblem::Value { line: self.line(key), key: key.to_owned(), expected }
    }

    /// Row by row: rows, columns and data; a bare list; or a list of rows.
    fn matrix(
        &self,
        names: &'static [&'static str],
        rows: usize,
        cols: usize,
    ) -> Result<Option<Vec<f64>>, CameraInfoProblem> {
        let Some((name, value)) = self.find(names) else { return Ok(None) };
        let values = data(value).ok_or_else(|| self.refuse(names, "a matrix of numbers"))?;
        let said = |key: &str, expected: usize| {
            let said = value.get(key).and_then(pixels);
            said.map_or(expected, |said| said as usize)
        };
        let (found_rows, found_cols, len) = (said("rows", rows), said("cols", cols), values.len());
        if (found_rows, found_cols, len) != (rows, cols, rows * cols) {
            return Err(CameraInfoProblem::Shape {
                key: names[0],
                expected_rows: rows,
                expected_cols: cols,
                rows: found_rows,
                cols: found_cols,
                len,
            });
        }
        if !values.iter().all(|value| value.is_finite()) {
            return Err(CameraInfoProblem::NotFinite { key: names[0] });
        }
        // Open3D writes column by column.
        let by_columns =
            name == "intrinsic_matrix" && !matches!(value, Value::Array(rows) if rows.len() == 3);
        if by_columns {
            let turned = (0..9).map(|index| values[3 * (index % 3) + index / 3]);
            return Ok(Some(turned.collect()));
        }
        Ok(Some(values))
    }

    fn line(&self, key: &str) -> usize {
        let starts = |line: &str| line.trim_start().trim_start_matches(['"', '{']).starts_with(key);
        self.text.lines().position(starts).map_or(1, |index| index + 1)
    }
}

impl Cut {
    /// As ROS's `image_geometry` has it: the region first, then the binning.
    fn intrinsics(&self, sensor: Intrinsics) -> Intrinsics {
        let [x, y] = self.binning.map(f64::from);
        Intrinsics {
            fx_px: sensor.fx_px / x,
            fy_px: sensor.fy_px / y,
            cx_px: (sensor.cx_px - f64::from(self.left_px)) / x,
            cy_px: (sensor.cy_px - f64::from(self.top_px)) / y,
        }
    }
}

pub(super) fn intrinsics(k: &[f64]) -> Result<Intrinsics, CameraInfoProblem> {
    let m: &[f64; 9] = k.first_chunk().expect("nine were counted");
    let [fx_px, skew, cx_px, zero, fy_px, cy_px, last_row @ ..] = *m;
    if !(fx_px > 0.0 && fy_px > 0.0) {
        return Err(CameraInfoProblem::NotCalibrated { fx_px, fy_px });
    }
    if (skew, zero, last_row) != (0.0, 0.0, [0.0, 0.0, 1.0]) {
        return Err(CameraInfoProblem::NotPinhole);
    }
    Ok(Intrinsics { fx_px, fy_px, cx_px, cy_px })
}

pub(super) fn pixels(value: &Value) -> Option<u32> {
    let number = value.as_f64().or_else(|| value.as_str()?.trim().parse().ok())?;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked")]
    let whole = (0.0..4e9).contains(&number).then_some(number as u32);
    whole.filter(|&whole| f64::from(whole) == number)
}

/// The numbers of a matrix, however it is written; `None` if there is something else in it.
pub(super) fn data(value: &Value) -> Option<Vec<f64>> {
    match value {
        Value::Object(fields) => fields.get("data").and_then(data),
        Value::Array(items) => {
            let parts: Option<Vec<Vec<f64>>> = items.iter().map(data).collect();
            Some(parts?.concat())
        }
        Value::Null => Some(vec![f64::NAN]),
        Value::Number(number) => Some(vec![number.as_f64()?]),
        Value::String(text) => Some(vec![text.trim().parse().ok()?]),
        Value::Bool(_) => None,
    }
}

/// OpenCV begins with a directive that is no YAML, and tags its matrices.
fn first_document(text: &str) -> String {
    let mut lines: Vec<&str> = Vec::new();
    for line in text.lines().filter(|line| !line.starts_with('%')) {
        let is_mark = line.trim_end() == "---" || line.trim_end() == "...";
        if is_mark && lines.iter().any(|line| !line.trim().is_empty()) {
            break;
        }
        // An empty line in place of the mark keeps the numbers of lines.
        lines.push(if is_mark { "" } else { line });
    }
    lines.join("\n").replace("!!opencv-matrix", "")
}

/// Whether two edits at most lead from one word to the other.
fn differ_little(a: &str, b: &str) -> bool {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    if a.len().abs_diff(b.len()) > 2 {
        return false;
    }
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let changed = diagonal + usize::from(from != to);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()] <= 2
}
