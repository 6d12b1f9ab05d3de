//! Finds a board in a picture.

use magpie_perception::BgrImage;
use opencv::core::Mat;
use opencv::imgproc;

use super::board::{Board, View};
use super::charuco::{Detection, Layout};
use super::dictionary::Dictionary;
use super::errors::CalibrateError;
use super::matrices::CvResult;
use super::{charuco, chessboard, sharpness};
use crate::image_file::mat_from_bgr;

/// Finds the board. Returns `None` if too little of it is there to say anything about it.
pub fn detect(image: &BgrImage, board: &Board) -> Result<Option<View>, CalibrateError> {
    let gray = gray(image)?;
    let detection = match *board {
        Board::Charuco { squares_x, squares_y, square_length_m, marker_length_m, dictionary } => {
            let layout = Layout::new(squares_x, squares_y, square_length_m, marker_length_m);
            charuco::detect(&gray, board, layout, dictionary)?
        }
        Board::Chessboard { .. } => chessboard::detect(&gray, board)?,
        Board::Markers { marker_length_m, dictionary } => {
            charuco::detect_markers(&gray, marker_length_m, dictionary)?
        }
    };
    let Some(Detection { points, mismatch, ends_seen }) = detection else { return Ok(None) };
    let edge_width_px = sharpness::edge_width_px(&gray, board, &points)?;
    let (width_px, height_px) = (image.width_px(), image.height_px());
    Ok(Some(View { width_px, height_px, points, edge_width_px, mismatch, ends_seen }))
}

/// Finds the board, which has to be in the picture and as it was described.
pub fn view_of(image: &BgrImage, board: &Board) -> Result<View, CalibrateError> {
    let view = detect(image, board)?;
    let view = view.ok_or_else(|| CalibrateError::NotInView { board: board.to_string() })?;
    match view.mismatch {
        Some(mismatch) => Err(CalibrateError::Mismatch { mismatch }),
        None if !view.ends_seen => Err(CalibrateError::EndsNotSeen { board: board.to_string() }),
        None => Ok(view),
    }
}

/// Returns the dictionary whose markers are in view, when those that were described are not, and
/// how many there are. This is slow.
fn dictionary_in_view(image: &BgrImage) -> Result<Option<(Dictionary, usize)>, CalibrateError> {
    let gray = gray(image)?;
    let mut best = None;
    for dictionary in Dictionary::all() {
        let found = charuco::count_markers(&gray, dictionary)?;
        // Larger dictionaries hold the smaller ones: the first that explains all is meant.
        if found >= 3 && best.is_none_or(|(_, most)| found > most) {
            best = Some((dictionary, found));
        }
    }
    Ok(best)
}

/// What to try where no board was found: what is in the picture instead. This is slow.
pub fn without_board(image: &BgrImage, board: &Board) -> String {
    if let Board::Chessboard { .. } = board {
        return "all inner corners must be in view, with a white rim about the squares".into();
    }
    match dictionary_in_view(image) {
        Ok(Some((dictionary, count))) => {
            format!("{count} markers of {dictionary} are in view: is that its --dictionary?")
        }
        _ => "no marker of any dictionary is in view".into(),
    }
}

fn gray(image: &BgrImage) -> Result<Mat, CalibrateError> {
    let bgr = mat_from_bgr(image)?;
    let convert = || -> CvResult<Mat> {
        let mut gray = Mat::default();
        imgproc::cvt_color_def(&bgr, &mut gray, imgproc::COLOR_BGR2GRAY)?;
        Ok(gray)
    };
    Ok(convert()?)
}
