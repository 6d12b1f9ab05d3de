//! The things to be picked: boxes, padded mailers, poly bags and loose items.

mod bag;
mod boxes;
mod goods;
mod mailer;
mod model;
mod pillow;

use magpie_perception::PackageType;

pub(crate) use boxes::{BoxStyle, carton};
pub(crate) use model::{Model, Photos};

use crate::random::Rng;

pub(crate) fn random_package(rng: &mut Rng, package_type: PackageType, photos: &Photos) -> Model {
    match package_type {
        PackageType::Box => boxes::random_box(rng, photos),
        PackageType::PaddedMailer => mailer::random_mailer(rng, photos),
        PackageType::PolyBag => bag::random_bag(rng, photos),
        PackageType::Item => goods::random_item(rng, photos),
    }
}
