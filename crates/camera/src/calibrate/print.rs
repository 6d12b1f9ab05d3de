//! Boards to print to scale, as SVG or PDF, with a ruler to check the print by.

use std::fmt::Write;

use super::board::Board;
use super::charuco::has_marker;
use super::errors::CalibrateError;

/// A sheet of paper.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageFormat {
    A4,
    A3,
    A2,
    A1,
    Letter,
}

impl PageFormat {
    pub const ALL: [PageFormat; 5] =
        [PageFormat::A4, PageFormat::Letter, PageFormat::A3, PageFormat::A2, PageFormat::A1];

    /// Returns the larger side first.
    fn size_mm(self) -> (f64, f64) {
        match self {
            PageFormat::A4 => (297.0, 210.0),
            PageFormat::A3 => (420.0, 297.0),
            PageFormat::A2 => (594.0, 420.0),
            PageFormat::A1 => (841.0, 594.0),
            PageFormat::Letter => (279.4, 215.9),
        }
    }
}

/// A white rim about the board.
const RIM_MM: f64 = 8.0;
/// Room for the ruler and the words below the board.
const FOOT_MM: f64 = 16.0;
const RULER_MM: f64 = 100.0;

/// A black rectangle or a line of words, in millimetres from the upper left of the sheet.
enum Item {
    Rectangle { x_mm: f64, y_mm: f64, width_mm: f64, height_mm: f64 },
    Text { x_mm: f64, y_mm: f64, text: String },
}

struct Sheet {
    width_mm: f64,
    height_mm: f64,
    items: Vec<Item>,
}

/// Draws a board that prints to scale at 100 %.
pub fn board_svg(board: &Board, page: Option<PageFormat>) -> Result<String, CalibrateError> {
    let sheet = lay_out(board, page)?;
    let (width, height) = (sheet.width_mm, sheet.height_mm);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}mm\" height=\"{height}mm\" \
         viewBox=\"0 0 {width} {height}\" shape-rendering=\"crispEdges\">\n\
         <rect width=\"{width}\" height=\"{height}\" fill=\"white\"/>\n"
    );
    for item in &sheet.items {
        let line = match item {
            Item::Rectangle { x_mm, y_mm, width_mm, height_mm } => format!(
                "<rect x=\"{x_mm:.4}\" y=\"{y_mm:.4}\" width=\"{width_mm:.4}\" \
                 height=\"{height_mm:.4}\"/>"
            ),
            Item::Text { x_mm, y_mm, text } => format!(
                "<text x=\"{x_mm:.2}\" y=\"{y_mm:.2}\" font-size=\"3.2\" \
                 font-family=\"sans-serif\">{text}</text>"
            ),
        };
        svg.push_str(&line);
        svg.push('\n');
    }
    svg.push_str("</svg>\n");
    Ok(svg)
}

/// Draws a page that prints to scale at 100 % ("actual size").
pub fn board_pdf(board: &Board, page: Option<PageFormat>) -> Result<Vec<u8>, CalibrateError> {
    let sheet = lay_out(board, page)?;
    let points = |mm: f64| mm * 72.0 / 25.4;
    let (width, height) = (points(sheet.width_mm), points(sheet.height_mm));
    let mut content = String::from("0 g\n");
    for item in &sheet.items {
        // PDF measures from the lower left.
        let line = match item {
            Item::Rectangle { x_mm, y_mm, width_mm, height_mm } => format!(
                "{:.4} {:.4} {:.4} {:.4} re f",
                points(*x_mm),
                height - points(y_mm + height_mm),
                points(*width_mm),
                points(*height_mm)
            ),
            Item::Text { x_mm, y_mm, text } => format!(
                "BT /F1 9 Tf {:.2} {:.2} Td ({text}) Tj ET",
                points(*x_mm),
                height - points(*y_mm)
            ),
        };
        content.push_str(&line);
        content.push('\n');
    }
    let objects = [
        "<< /Type /Catalog /Pages 2 0 R /ViewerPreferences << /PrintScaling /None >> >>".to_owned(),
        "<< /Type /Pages /Kids [3 0 R] /Count 1 >>".to_owned(),
        format!(
            "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 {width:.3} {height:.3}] /Contents 4 0 R \
             /Resources << /Font << /F1 5 0 R >> >> >>"
        ),
        format!("<< /Length {} >>\nstream\n{content}endstream", content.len()),
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>".to_owned(),
    ];
    Ok(pdf_file(&objects).into_bytes())
}

/// Joins the objects to a file. Objects are numbered from 1; the first is the catalogue.
fn pdf_file(objects: &[String]) -> String {
    let mut file = String::from("%PDF-1.4\n");
    let mut offsets = Vec::new();
    for (index, object) in objects.iter().enumerate() {
        offsets.push(file.len());
        let _ = write!(file, "{} 0 obj\n{object}\nendobj\n", index + 1);
    }
    let start = file.len();
    let _ = write!(file, "xref\n0 {}\n0000000000 65535 f \n", objects.len() + 1);
    for offset in offsets {
        let _ = writeln!(file, "{offset:010} 00000 n ");
    }
    let _ = write!(
        file,
        "trailer\n<< /Size {} /Root 1 0 R >>\nstartxref\n{start}\n%%EOF\n",
        objects.len() + 1
    );
    file
}

fn lay_out(board: &Board, page: Option<PageFormat>) -> Result<Sheet, CalibrateError> {
    board.check()?;
    let Some((corners_x, corners_y)) = board.corners() else {
        let why =
            "single markers are printed by name; print a ChArUco board or a chessboard".into();
        return Err(CalibrateError::Board { why });
    };
    let square_mm = 1000.0 * board.square_length_m().expect("boards of squares have squares");
    let (columns, rows) = (corners_x + 1, corners_y + 1);
    let (board_w_mm, board_h_mm) = (columns as f64 * square_mm, rows as f64 * square_mm);
    let (needed_w, needed_h) =
        (board_w_mm.max(RULER_MM) + 2.0 * RIM_MM, board_h_mm + 2.0 * RIM_MM + FOOT_MM);
    let (width_mm, height_mm) = page_size(page, needed_w, needed_h)?;
    let mut sheet = Sheet { width_mm, height_mm, items: Vec::new() };
    let (left, top) = ((width_mm - board_w_mm) / 2.0, (height_mm - FOOT_MM - board_h_mm) / 2.0);
    let mut marker = 0;
    for row in 0..rows {
        for column in 0..columns {
            let (x_mm, y_mm) = (left + column as f64 * square_mm, top + row as f64 * square_mm);
            if !has_marker(column, row) {
                let (width_mm, height_mm) = (square_mm, square_mm);
                sheet.items.push(Item::Rectangle { x_mm, y_mm, width_mm, height_mm });
            } else if let Board::Charuco { marker_length_m, dictionary, .. } = board {
                let side_mm = 1000.0 * marker_length_m;
                let margin_mm = (square_mm - side_mm) / 2.0;
                sheet.marker(
                    &dictionary.modules(marker)?,
                    [x_mm + margin_mm, y_mm + margin_mm],
                    side_mm,
                );
                marker += 1;
            }
        }
    }
    sheet.foot(board, left.max(RIM_MM));
    Ok(sheet)
}

/// Chooses the smallest sheet that holds the board, unless one was asked for.
fn page_size(
    page: Option<PageFormat>,
    needed_w: f64,
    needed_h: f64,
) -> Result<(f64, f64), CalibrateError> {
    let fits = |(width, height): (f64, f64)| needed_w <= width && needed_h <= height;
    let both_ways = |format: PageFormat| {
        let (long, short) = format.size_mm();
        [(long, short), (short, long)]
    };
    let formats = page.map_or_else(|| PageFormat::ALL.to_vec(), |format| vec![format]);
    let found = formats.into_iter().flat_map(both_ways).find(|&size| fits(size));
    found.ok_or_else(|| CalibrateError::Board {
        why: format!(
            "with its rim it takes {needed_w:.0}x{needed_h:.0} mm, more than the sheet; choose a \
             larger sheet or smaller squares"
        ),
    })
}

impl Sheet {
    /// Draws a rectangle for each run of black modules in a row.
    fn marker(&mut self, modules: &[Vec<bool>], [x_mm, y_mm]: [f64; 2], side_mm: f64) {
        let module_mm = side_mm / modules.len() as f64;
        for (row, whites) in modules.iter().enumerate() {
            let mut column = 0;
            for run in whites.chunk_by(|a, b| a == b) {
                if !run[0] {
                    self.items.push(Item::Rectangle {
                        x_mm: x_mm + column as f64 * module_mm,
                        y_mm: y_mm + row as f64 * module_mm,
                        width_mm: run.len() as f64 * module_mm,
                        height_mm: module_mm,
                    });
                }
                column += run.len();
            }
        }
    }

    fn foot(&mut self, board: &Board, left: f64) {
        let y_mm = self.height_mm - FOOT_MM;
        let bar = |x_mm: f64, y_mm: f64, width_mm: f64, height_mm: f64| Item::Rectangle {
            x_mm,
            y_mm,
            width_mm,
            height_mm,
        };
        self.items.push(bar(left, y_mm, RULER_MM, 0.3));
        for mark in 0..=10_u8 {
            let height_mm = if mark.is_multiple_of(5) { 3.0 } else { 1.8 };
            let at = left + 10.0 * f64::from(mark);
            // The outer edges of the first and the last mark are 100 mm apart.
            let x_mm = if mark == 0 { at } else { at - 0.3 };
            self.items.push(bar(x_mm, y_mm, 0.3, height_mm));
        }
        let measure = format!(
            "This ruler is {RULER_MM:.0} mm long. Print at 100 %, measure it, and measure a square."
        );
        for (line, text) in [measure, format!("Magpie: {board}")].into_iter().enumerate() {
            let y_mm = y_mm + 7.0 + 4.5 * line as f64;
            self.items.push(Item::Text { x_mm: left, y_mm, text });
        }
    }
}
