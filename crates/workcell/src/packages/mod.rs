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

use crate::random::Dice;

pub(crate) fn random_package(dice: &mut Dice, package_type: PackageType, photos: &Photos) -> Model {
    match package_type {
        PackageType::Box => boxes::random_box(dice, photos),
        PackageType::PaddedMailer => mailer::random_mailer(dice, photos),
        PackageType::PolyBag => bag::random_bag(dice, photos),
        PackageType::Item => goods::random_item(dice, photos),
    }
}
