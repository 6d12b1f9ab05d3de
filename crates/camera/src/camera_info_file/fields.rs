//! The values of one camera in YAML or JSON: ROS's files and messages, as `ros2 topic echo` and
//! `rostopic echo` print them, OpenCV's `FileStorage`, and what others write alike.

use magpie_perception::{CameraInfo, Intrinsics, SensorPart};
use serde_json::{Map, Value};

use super::names::{
    HEIGHT, INTRINSICS, MATRIX, Names, ONE_BY_ONE, PROJECTION, RECTIFICATION, SIZE, WIDTH,
    find_all, is_known, meant_by, speaks_of_lens,
};
use super::problem::CameraInfoProblem;

/// A calibration's text with its keys.
pub(super) struct Fields {
    pub(super) text: String,
    pub(super) values: Map<String, Value>,
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
        let distortion = self.distortion(&mut doubts)?;
        let [width_px, height_px] = self.size()?;
        if width_px == 0 || height_px == 0 {
            return Err(CameraInfoProblem::ImageSize { width_px, height_px });
        }
        let intrinsics = self.intrinsics()?;
        let part = self.part(width_px, height_px)?;
        for (names, cols) in [(RECTIFICATION, 3), (PROJECTION, 4)] {
            for (key, value) in find_all(&self.values, names) {
                self.matrix(names[0], key, value, 3, cols)?;
            }
        }
        let camera_name = self.text("camera_name").unwrap_or_else(|| "unknown".to_owned());
        let in_header = self.values.get("header").and_then(|header| header.get("frame_id"));
        let frame_id = in_header.or_else(|| self.values.get("frame_id"));
        let frame_id = frame_id.and_then(Value::as_str).filter(|name| !name.is_empty());
        let frame_id =
            frame_id.map_or_else(|| format!("{camera_name}_optical_frame"), str::to_owned);
        let whole =
            CameraInfo { frame_id, width_px, height_px, intrinsics, distortion, camera_name };
        if let Some(why) = whole.impossibility() {
            return Err(CameraInfoProblem::Impossible { why });
        }
        doubts.extend(whole.doubts());
        let (width_px, height_px) = part.size_px();
        let intrinsics = part.intrinsics(intrinsics);
        Ok((CameraInfo { width_px, height_px, intrinsics, ..whole }, doubts))
    }

    fn size(&self) -> Result<[u32; 2], CameraInfoProblem> {
        let sides = [
            self.side(WIDTH, "the picture's width in pixels")?,
            self.side(HEIGHT, "the picture's height in pixels")?,
        ];
        if let [Some(width), Some(height)] = sides {
            return Ok([width, height]);
        }
        let expected = "[width, height] in pixels";
        if let Some((key, value)) = find_all(&self.values, SIZE).next() {
            let sides = value.as_array().map(Vec::as_slice);
            let Some([width, height]) = sides else { return Err(self.refuse(key, expected)) };
            let side = |value| pixels(value).ok_or_else(|| self.refuse(key, expected));
            return Ok([side(width)?, side(height)?]);
        }
        Err(CameraInfoProblem::Missing {
            key: if sides[0].is_none() { WIDTH[0] } else { HEIGHT[0] },
            remedy: ": write the picture's width and height into the file as image_width and \
                     image_height",
        })
    }

    /// All that the file says about them has to agree.
    fn intrinsics(&self) -> Result<Intrinsics, CameraInfoProblem> {
        let mut found: Vec<(&str, Intrinsics)> = Vec::new();
        for (key, value) in find_all(&self.values, MATRIX) {
            found.push((key, pinhole(&self.matrix(MATRIX[0], key, value, 3, 3)?)?));
        }
        for (key, value) in find_all(&self.values, INTRINSICS) {
            let Some(values) = data(value) else { continue };
            found.push((
                key,
                match values[..] {
                    [fx, fy, cx, cy] => one_by_one([fx, fy, cx, cy])?,
                    _ if values.len() == 9 => {
                        pinhole(&self.matrix(INTRINSICS[0], key, value, 3, 3)?)?
                    }
                    _ => return Err(self.refuse(key, "fu, fv, pu, pv of a pinhole camera")),
                },
            ));
        }
        let mut numbers = [None; 4];
        for (names, number) in ONE_BY_ONE.into_iter().zip(&mut numbers) {
            *number = self.number(names)?;
        }
        let missing = numbers.iter().position(Option::is_none);
        match (missing, numbers.iter().position(Option::is_some)) {
            (None, _) => {
                found.push((ONE_BY_ONE[0][0], one_by_one(numbers.map(Option::unwrap_or_default))?))
            }
            (Some(missing), Some(_)) if found.is_empty() => {
                return Err(CameraInfoProblem::Missing { key: ONE_BY_ONE[missing][0], remedy: "" });
            }
            _ => {}
        }
        let Some(((first, intrinsics), others)) = found.split_first() else {
            return Err(CameraInfoProblem::Missing {
                key: MATRIX[0],
                remedy: ": it holds fx, fy, cx and cy",
            });
        };
        let differs = |other: &Intrinsics| {
            let numbers = |it: &Intrinsics| [it.fx_px, it.fy_px, it.cx_px, it.cy_px];
            !numbers(other).iter().zip(numbers(intrinsics)).all(|(a, b)| is_same(*a, b))
        };
        match others.iter().find(|(_, other)| differs(other)) {
            Some((second, _)) => Err(CameraInfoProblem::Contradiction {
                first: (*first).to_owned(),
                second: (*second).to_owned(),
            }),
            None => Ok(*intrinsics),
        }
    }

    /// Refuses keys that are probably misspelt or speak of the lens, and names the others that mean
    /// nothing here.
    fn check_keys(&self) -> Result<Vec<String>, CameraInfoProblem> {
        let unknown: Vec<_> = self.values.iter().filter(|(key, _)| !is_known(key)).collect();
        for (key, value) in &unknown {
            let line = self.line(key);
            if let Some(meant) = meant_by(&self.values, key) {
                return Err(CameraInfoProblem::Misspelt { line, found: (*key).clone(), meant });
            }
            if let Some(key) = speaks_of_lens(key, value) {
                return Err(CameraInfoProblem::Unread { line, key });
            }
        }
        if unknown.is_empty() {
            return Ok(Vec::new());
        }
        let names: Vec<&str> = unknown.iter().map(|(key, _)| key.as_str()).collect();
        Ok(vec![format!("not used: {}", names.join(", "))])
    }

    /// The stream's part of the sensor.
    fn part(&self, width_px: u32, height_px: u32) -> Result<SensorPart, CameraInfoProblem> {
        let whole = |value: Option<&Value>, key: &str| match value {
            None | Some(Value::Null) => Ok(0),
            Some(value) => pixels(value).ok_or_else(|| self.refuse(key, "a whole number")),
        };
        let binning = |key: &str| whole(self.values.get(key), key);
        let region = self.values.get("roi");
        let of = |key: &str| whole(region.and_then(|region| region.get(key)), key);
        let offset_px = [of("x_offset")?, of("y_offset")?];
        let region_px = [of("width")?, of("height")?];
        let binning = [binning("binning_x")?, binning("binning_y")?];
        Ok(SensorPart::new([width_px, height_px], offset_px, region_px, binning)?)
    }

    pub(super) fn text(&self, key: &str) -> Option<String> {
        match self.values.get(key)? {
            Value::String(text) => Some(text.clone()),
            Value::Null => Some(String::new()),
            other => Some(other.to_string()),
        }
    }

    fn side(&self, names: Names, expected: &'static str) -> Result<Option<u32>, CameraInfoProblem> {
        let read = |value: &Value| pixels(value).map(f64::from);
        let side = self.agreed(names, expected, read)?;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it was one")]
        Ok(side.map(|side| side as u32))
    }

    fn number(&self, names: Names) -> Result<Option<f64>, CameraInfoProblem> {
        let read = |value: &Value| data(value).filter(|one| one.len() == 1).map(|one| one[0]);
        self.agreed(names, "one number", read)
    }

    /// One number under several names has to be the same.
    fn agreed(
        &self,
        names: Names,
        expected: &'static str,
        read: impl Fn(&Value) -> Option<f64>,
    ) -> Result<Option<f64>, CameraInfoProblem> {
        let mut found: Option<(&str, f64)> = None;
        for (key, value) in find_all(&self.values, names) {
            let value = read(value).ok_or_else(|| self.refuse(key, expected))?;
            match found {
                Some((first, other)) if !is_same(other, value) => {
                    let (first, second) = (first.to_owned(), key.to_owned());
                    return Err(CameraInfoProblem::Contradiction { first, second });
                }
                _ => found = Some((key, value)),
            }
        }
        Ok(found.map(|(_, value)| value))
    }

    pub(super) fn refuse(&self, key: &str, expected: &'static str) -> CameraInfoProblem {
        CameraInfoProblem::Value { line: self.line(key), key: key.to_owned(), expected }
    }

    /// Row by row: rows, columns and data; a bare list; or a list of rows.
    fn matrix(
        &self,
        name: &'static str,
        key: &str,
        value: &Value,
        rows: usize,
        cols: usize,
    ) -> Result<Vec<f64>, CameraInfoProblem> {
        let values = data(value).ok_or_else(|| self.refuse(key, "a matrix of numbers"))?;
        let said = |key: &str, expected: usize| {
            let said = value.get(key).and_then(pixels);
            said.map_or(expected, |said| said as usize)
        };
        let (found_rows, found_cols, len) = (said("rows", rows), said("cols", cols), values.len());
        if (found_rows, found_cols, len) != (rows, cols, rows * cols) {
            return Err(CameraInfoProblem::Shape {
                key: name,
                expected_rows: rows,
                expected_cols: cols,
                rows: found_rows,
                cols: found_cols,
                len,
            });
        }
        if !values.iter().all(|value| value.is_finite()) {
            return Err(CameraInfoProblem::NotFinite { key: name });
        }
        // Open3D and Record3D write column by column, where cx and cy come last.
        let is_flat = !matches!(value, Value::Array(rows) if rows.len() == 3);
        let cx_last = |m: &[f64]| (m[2], m[5], m[8]) == (0.0, 0.0, 1.0) && m[6] > 0.0 && m[7] > 0.0;
        let by_columns =
            is_flat && rows * cols == 9 && (key == "intrinsic_matrix" || cx_last(&values));
        if by_columns {
            let turned = (0..9).map(|index| values[3 * (index % 3) + index / 3]);
            return Ok(turned.collect());
        }
        Ok(values)
    }

    pub(super) fn line(&self, key: &str) -> usize {
        let starts = |line: &str| line.trim_start().trim_start_matches(['"', '{']).starts_with(key);
        self.text.lines().position(starts).map_or(1, |index| index + 1)
    }
}

/// `fx`, `fy`, `cx`, `cy`.
fn one_by_one(numbers: [f64; 4]) -> Result<Intrinsics, CameraInfoProblem> {
    let [fx_px, fy_px, cx_px, cy_px] = numbers;
    if !numbers.iter().all(|number| number.is_finite()) {
        return Err(CameraInfoProblem::NotFinite { key: "the intrinsics" });
    }
    if !(fx_px > 0.0 && fy_px > 0.0) {
        return Err(CameraInfoProblem::NotCalibrated { fx_px, fy_px });
    }
    Ok(Intrinsics { fx_px, fy_px, cx_px, cy_px })
}

/// Programs print with different numbers of digits.
pub(super) fn is_same(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-4 * a.abs().max(b.abs()).max(1e-2)
}

fn pinhole(k: &[f64]) -> Result<Intrinsics, CameraInfoProblem> {
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
