//! The part of a sensor's picture that a stream shows, as ROS's `roi` and `binning` say it.

use crate::Intrinsics;

/// A region of the whole sensor's picture, at a lower resolution: REP-104.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SensorPart {
    left_px: u32,
    top_px: u32,
    /// Before binning.
    width_px: u32,
    height_px: u32,
    binning: [u32; 2],
}

/// Why there is no such part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SensorPartError {
    #[error(
        "the region of interest reaches {x_px}, {y_px}, beyond the {width_px}x{height_px} px of \
         the whole sensor: width and height are those without roi and binning (REP-104)"
    )]
    Beyond { x_px: u64, y_px: u64, width_px: u32, height_px: u32 },
    #[error("roi and binning leave {width_px}x{height_px} px")]
    Nothing { width_px: u32, height_px: u32 },
}

impl SensorPart {
    /// All of them are across and down. ROS counts binning 0 as 1, and a region of 0x0 as the whole.
    pub fn new(
        sensor_px: [u32; 2],
        offset_px: [u32; 2],
        region_px: [u32; 2],
        binning: [u32; 2],
    ) -> Result<SensorPart, SensorPartError> {
        let [width_px, height_px] = if region_px == [0, 0] { sensor_px } else { region_px };
        let end = |from: u32, size: u32| u64::from(from) + u64::from(size);
        let (x_px, y_px) = (end(offset_px[0], width_px), end(offset_px[1], height_px));
        if x_px > u64::from(sensor_px[0]) || y_px > u64::from(sensor_px[1]) {
            let [width_px, height_px] = sensor_px;
            return Err(SensorPartError::Beyond { x_px, y_px, width_px, height_px });
        }
        let binning = binning.map(|by| by.max(1));
        let part = SensorPart {
            left_px: offset_px[0],
            top_px: offset_px[1],
            width_px,
            height_px,
            binning,
        };
        let (width_px, height_px) = part.size_px();
        if width_px == 0 || height_px == 0 {
            return Err(SensorPartError::Nothing { width_px, height_px });
        }
        Ok(part)
    }

    /// Width and height of the stream's picture.
    pub fn size_px(&self) -> (u32, u32) {
        (self.width_px / self.binning[0], self.height_px / self.binning[1])
    }

    /// Whether it is not the whole, or not at the sensor's resolution.
    pub fn is_part(&self, sensor_px: [u32; 2]) -> bool {
        [self.width_px, self.height_px] != sensor_px || self.binning != [1, 1]
    }

    /// As ROS's `image_geometry` has it: the region first, then the binning.
    pub fn intrinsics(&self, sensor: Intrinsics) -> Intrinsics {
        let [x, y] = self.binning.map(f64::from);
        Intrinsics {
            fx_px: sensor.fx_px / x,
            fy_px: sensor.fy_px / y,
            cx_px: (sensor.cx_px - f64::from(self.left_px)) / x,
            cy_px: (sensor.cy_px - f64::from(self.top_px)) / y,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SENSOR: [u32; 2] = [1280, 960];

    #[test]
    fn a_region_is_cut_out_first_and_binned_then() {
        let part = SensorPart::new(SENSOR, [320, 240], [640, 480], [2, 4]).unwrap();
        assert_eq!((part.size_px(), part.is_part(SENSOR)), ((320, 120), true));
        let whole = Intrinsics { fx_px: 1200.0, fy_px: 1000.0, cx_px: 640.0, cy_px: 480.0 };
        let expected = Intrinsics { fx_px: 600.0, fy_px: 250.0, cx_px: 160.0, cy_px: 60.0 };
        assert_eq!(part.intrinsics(whole), expected);
    }

    #[test]
    fn zeros_are_the_whole_and_what_lies_beyond_is_refused() {
        let whole = SensorPart::new(SENSOR, [0, 0], [0, 0], [0, 0]).unwrap();
        assert_eq!((whole.size_px(), whole.is_part(SENSOR)), ((1280, 960), false));
        let beyond = SensorPart::new(SENSOR, [800, 0], [640, 480], [1, 1]);
        assert!(matches!(beyond, Err(SensorPartError::Beyond { x_px: 1440, y_px: 480, .. })));
        let nothing = SensorPart::new(SENSOR, [0, 0], [640, 0], [1, 1]);
        assert_eq!(nothing, Err(SensorPartError::Nothing { width_px: 640, height_px: 0 }));
        assert!(SensorPart::new(SENSOR, [0, 0], [8, 8], [9, 1]).is_err());
    }
}
