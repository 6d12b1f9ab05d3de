//! Letting things fall until they lie still.

use rapier3d::dynamics::RigidBodyBuilder;
use rapier3d::geometry::{ColliderBuilder, SharedShape};
use rapier3d::math::{Pose, Vec3};
use rapier3d::pipeline::PhysicsWorld;

/// A shape with its pose in the base frame.
pub(crate) type Placed = (SharedShape, Pose);

/// Short steps: mailers are thin and must not pass through what they fall on.
const STEP_S: f32 = 1.0 / 100.0;
const STEPS_MAX: u32 = 400;
/// Nothing sleeps before it has had time to fall.
const STEPS_MIN: u32 = 100;

/// Drops `bodies` onto `fixed` things; returns where the bodies' origins come to rest.
pub(crate) fn settle(fixed: &[Placed], bodies: &[Placed]) -> Vec<Pose> {
    let mut world = PhysicsWorld::new();
    world.integration_parameters.dt = STEP_S;
    world.gravity = Vec3::new(0.0, 0.0, -9.81);
    for (shape, pose) in fixed {
        let collider = ColliderBuilder::new(shape.clone()).position(*pose).friction(0.7);
        world.colliders.insert(collider);
    }
    let handles: Vec<_> = bodies
        .iter()
        .map(|(shape, pose)| {
            let body = RigidBodyBuilder::dynamic()
                .pose(*pose)
                .linvel(Vec3::new(0.0, 0.0, -0.6))
                .linear_damping(0.6)
                .angular_damping(1.2)
                .ccd_enabled(true);
            let collider = ColliderBuilder::new(shape.clone()).friction(0.6).density(120.0);
            world.insert(body, collider).0
        })
        .collect();
    for step in 0..STEPS_MAX {
        world.step();
        if step > STEPS_MIN && handles.iter().all(|&handle| world.bodies[handle].is_sleeping()) {
            break;
        }
    }
    handles.iter().map(|&handle| *world.bodies[handle].position()).collect()
}
