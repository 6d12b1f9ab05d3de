//! Outlines on the support plane, by their moments.

/// A rectangle's squared side is twelve times its variance along it.
const SQUARED_SIDE_VARIANCES: f32 = 12.0;

/// Smallest and largest `u` and `v`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds([f32; 4]);

impl Default for Bounds {
    fn default() -> Bounds {
        Bounds([f32::MAX, f32::MIN, f32::MAX, f32::MIN])
    }
}

impl Bounds {
    pub(super) fn with(self, u: f32, v: f32) -> Bounds {
        // Not `f32::min`, which takes four instructions for the sake of NaN.
        let least = |a: f32, b: f32| if a < b { a } else { b };
        let most = |a: f32, b: f32| if a > b { a } else { b };
        let Bounds([u_min, u_max, v_min, v_max]) = self;
        Bounds([least(u, u_min), most(u, u_max), least(v, v_min), most(v, v_max)])
    }

    /// Whether a point lies within, or beside it by no more than `reach`.
    pub(super) fn contains(&self, u: f32, v: f32, reach: f32) -> bool {
        let Bounds([u_min, u_max, v_min, v_max]) = self;
        (u_min - reach..=u_max + reach).contains(&u) && (v_min - reach..=v_max + reach).contains(&v)
    }
}

/// Weight, mean and second moments of an area.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Moments {
    weight: f32,
    pub(super) u: f32,
    pub(super) v: f32,
    uu: f32,
    uv: f32,
    vv: f32,
}

impl Moments {
    pub(super) fn add(&mut self, u: f32, v: f32, weight: f32) {
        self.weight += weight;
        self.u += weight * u;
        self.v += weight * v;
        self.uu += weight * u * u;
        self.uv += weight * u * v;
        self.vv += weight * v * v;
    }

    pub(super) fn centered(self) -> Moments {
        let w = self.weight.max(f32::MIN_POSITIVE);
        let (u, v) = (self.u / w, self.v / w);
        Moments {
            weight: w,
            u,
            v,
            uu: self.uu / w - u * u,
            uv: self.uv / w - u * v,
            vv: self.vv / w - v * v,
        }
    }

    pub(super) fn long_axis(&self) -> [f32; 2] {
        let angle = 0.5 * (2.0 * self.uv).atan2(self.uu - self.vv);
        [angle.cos(), angle.sin()]
    }

    /// Sides of the rectangle with these moments, along a direction and across it. Moments of the
    /// centres of cells lack what lies within a cell.
    pub(super) fn sides_m(&self, direction: [f32; 2], cell_m: f32) -> [f32; 2] {
        self.variances(direction)
            .map(|v| (SQUARED_SIDE_VARIANCES * v.max(0.0) + cell_m * cell_m).sqrt())
    }

    /// Along a direction and across it.
    fn variances(&self, [u, v]: [f32; 2]) -> [f32; 2] {
        let along = |u: f32, v: f32| self.uu * u * u + 2.0 * self.uv * u * v + self.vv * v * v;
        [along(u, v), along(-v, u)]
    }
}
