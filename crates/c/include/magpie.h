// The results of a Magpie cell, for programs that move an arm. Made by cbindgen; do not edit.
//
// Conventions
// - Lengths are metres, times are nanoseconds since 1970 (_ns) or milliseconds (_ms).
// - Poses are homogeneous 4x4 matrices, row by row, named target_from_source: pose[3] is x, pose[7]
//   is y, pose[11] is z, and pose[2], pose[6], pose[10] is the approach, into the package.
// - A function either succeeds, or says why not in its result and in magpie_last_error(). Then its
//   answer is nothing: NULL, 0, an empty text, or not a number. Nothing of an earlier call is left.
// - What is made by one function is freed by one function, once, when no other call uses it any
//   more. Whoever waits in another thread uses it.
// - Every function may be called from every thread, and two threads may use one handle at once.
//   In a fork of the process that connected they do nothing, and say MAGPIE_RESULT_NOT_CONNECTED.
//   None of them throws, and none ends the process: a mistake of ours is MAGPIE_RESULT_BROKEN.
// - Texts are UTF-8, end with a zero, and are cut where they do not fit.


#ifndef MAGPIE_H
#define MAGPIE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#if defined(__GNUC__)
#define MAGPIE_MUST_USE __attribute__((warn_unused_result))
#elif defined(__cplusplus) && __cplusplus >= 201703L
#define MAGPIE_MUST_USE [[nodiscard]]
#else
#define MAGPIE_MUST_USE
#endif

// How a call ended.
typedef enum {
  MAGPIE_RESULT_OK = 0,
  // There is nothing of that kind: no grasp, no known motion.
  MAGPIE_RESULT_NONE = 1,
  // The time of the result was over when it was asked for: take a newer one.
  MAGPIE_RESULT_EXPIRED = 2,
  // The pose is in another reference frame than the one that was asked for.
  MAGPIE_RESULT_WRONG_FRAME = 3,
  // An argument is NULL, out of range, or not what its name says.
  MAGPIE_RESULT_INVALID = 4,
  // The cell was not found, or does not let us in; or this process is a fork of one that connected.
  MAGPIE_RESULT_NOT_CONNECTED = 5,
  // A question was not answered, or its answer must not be believed.
  MAGPIE_RESULT_NOT_ANSWERED = 6,
  // A mistake of this library: please report it.
  MAGPIE_RESULT_BROKEN = 7,
} MagpieResult;

// What the arm may do.
typedef enum {
  // Act upon the view, until it expires.
  MAGPIE_STATE_FRESH = 0,
  // Wait: the daemon lives, but it has no result that may be acted upon.
  MAGPIE_STATE_STALE = 1,
  // Stop: the daemon left, is silent, reports a fault, or is not the only one.
  MAGPIE_STATE_LOST = 2,
} MagpieState;

// What poses are relative to.
typedef enum {
  // This library does not know it: it is of a newer daemon.
  MAGPIE_REFERENCE_FRAME_UNKNOWN = 0,
  // The robot's base: alone here an arm can move by them.
  MAGPIE_REFERENCE_FRAME_BASE = 1,
  // The camera's optical frame: x right, y down, z forward.
  MAGPIE_REFERENCE_FRAME_CAMERA = 2,
  // The gripper at the stamp, the camera being on the arm.
  MAGPIE_REFERENCE_FRAME_GRIPPER = 3,
} MagpieReferenceFrame;

// What became of a pick.
typedef enum {
  // It was lifted, carried and let go where it belongs.
  MAGPIE_OUTCOME_HELD = 1,
  // It was lifted, and fell on the way.
  MAGPIE_OUTCOME_DROPPED = 2,
  // More than this one package came up.
  MAGPIE_OUTCOME_DOUBLE = 3,
  // The tool went there, and nothing came up.
  MAGPIE_OUTCOME_MISSED = 4,
  // It was chosen, but the tool did not go there.
  MAGPIE_OUTCOME_NOT_TRIED = 5,
} MagpieOutcome;

// One cell, over one connection.
typedef struct MagpieClient MagpieClient;

// Follows the results of a cell.
typedef struct MagpiePackages MagpiePackages;

// One result, while it lives.
typedef struct MagpieView MagpieView;

// How far a client trusts silence and clocks.
typedef struct {
  // Longer silence of the heartbeat is lost.
  uint32_t heartbeat_silence_ms_max;
  // A publisher whose clock is further ahead is not believed.
  uint32_t clock_ahead_ms_max;
  // A result that claims to be valid for longer is refused.
  uint32_t result_valid_ms_max;
} MagpieLimits;

// How things stand.
typedef struct {
  MagpieState state;
  // Where fresh: the result, which is yours to free. NULL otherwise.
  MagpieView *view;
  // Where stale or lost: for programs to decide by, for example `expired`, `silent`, `rival`.
  char code[32];
  // Where stale or lost: one sentence for people.
  char why[512];
} MagpieNews;

// A camera's calibration, with the matrices of ROS's camera_info.
typedef struct {
  uint32_t width_px;
  uint32_t height_px;
  // `plumb_bob`, `rational_polynomial` or `equidistant`.
  char distortion_model[32];
  double d[16];
  uint32_t d_count;
  // The camera matrix in pixels, row by row.
  double k[9];
  char frame_id[64];
} MagpieCameraInfo;

// The newest heartbeat of a daemon.
typedef struct {
  // `starting`, `ok`, `degraded`, `fault` or `unspecified`.
  char state[32];
  uint64_t uptime_ns;
  // Why the state is not ok: codes, separated by spaces.
  char reason_codes[512];
  // The same as sentences for people.
  char reasons[1024];
} MagpieStatus;

// What stands on top of a result. It may be read whatever its age.
typedef struct {
  // The number of the camera's frame.
  uint64_t sequence;
  // When the frame was exposed.
  uint64_t stamp_ns;
  // For how long the result may still be acted upon; 0 once it has expired.
  uint64_t expires_in_ns;
  uint32_t package_count;
  uint32_t image_width_px;
  uint32_t image_height_px;
  MagpieReferenceFrame reference_frame;
  // The name of the reference frame of all poses.
  char frame_id[64];
  // Whether the publisher is another one than before: forget all track ids. Told once.
  bool restarted;
  // Whether the daemon runs, but not as configured: its status says why.
  bool degraded;
} MagpieViewInfo;

// One package.
typedef struct {
  // Stays with the package from frame to frame while the daemon runs.
  uint64_t track_id;
  // Its class, for example `box` or `poly_bag`.
  char kind[64];
  // How sure the model is, 0 to 1.
  float score;
  // 0 is to be picked first.
  uint32_t pick_rank;
  // The box around it in pixels: x_min, y_min, x_max, y_max, its outer edges.
  float bbox_px[4];
  // How much of its rim another package hides, 0 to 1.
  float occluded_share;
  // Best first.
  uint32_t grasp_count;
  // Without a grasp: why, for example `no_seal`.
  char refusal[32];
  // The height of the contact above the support plane; not a number where it is not known.
  double height_m;
  // Length, width and height; not numbers where they were not measured.
  double size_m[3];
} MagpiePackage;

// Where and how a suction tool can hold a package.
typedef struct {
  // The tool's reference frame in the one that `reference_frame` names. An arm moves by
  // magpie_base_from_grasp() or magpie_pose_in_base(), which look at that first.
  double reference_from_grasp[16];
  MagpieReferenceFrame reference_frame;
  // The contact point in the camera's picture.
  float contact_px[2];
  // 0 to 1.
  float quality;
  // Which suction cups of the tool to switch on, by index.
  uint32_t cups[32];
  uint32_t cup_count;
  // Standard deviation along the approach, the calibration's error left out; 0 where it is not
  // known.
  double position_sigma_m;
} MagpieGrasp;

// What is said of a pick.
typedef struct {
  // A value of MagpieOutcome.
  uint32_t outcome;
  // When it was over; 0: now.
  uint64_t done_ns;
  // How far the pressure in the cups fell below the air's, in pascals; not a number where it was
  // not measured.
  double vacuum_pa;
  // What hung on the tool, in kilograms; not a number where it was not weighed.
  double weight_kg;
  // What a later station read it to be, in the words of the model's types; NULL: not read.
  const char *kind;
  // Who reports, for people; may be NULL.
  const char *reporter;
} MagpieReport;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

// Joins a cell. By its name alone it is found on this machine; `endpoint` names one of another
// machine (`tcp/192.168.1.7:17447`), and `zenoh_file` a file of zenoh's with certificates. Both may
// be NULL, and one of them has to be. Blocks for some seconds at most. `*client` is yours, to free by
// magpie_client_free(); it is NULL unless the result is MAGPIE_RESULT_OK.
//
// # Safety
// Texts end with a zero.
MAGPIE_MUST_USE
MagpieResult magpie_connect(const char *cell,
                            const char *endpoint,
                            const char *zenoh_file,
                            MagpieClient **client);

// The limits of magpie_connect(): 500 ms of silence, a clock that is 5 ms ahead, results that are valid
// for 5000 ms. For those that you know better to be written over.
MAGPIE_MUST_USE
MagpieLimits magpie_limits(void);

// Does what magpie_connect() does, within limits of your own.
//
// # Safety
// Texts end with a zero.
MAGPIE_MUST_USE
MagpieResult magpie_connect_within(const char *cell,
                                   const char *endpoint,
                                   const char *zenoh_file,
                                   const MagpieLimits *limits,
                                   MagpieClient **client);

// Leaves the cell, once what was made of the client is freed, too. NULL is ignored.
//
// # Safety
// The client is freed once, while no other call uses it.
void magpie_client_free(MagpieClient *client);

// Follows the results. `*packages` is yours, to free by magpie_packages_free(), also after the client
// was freed. Waits until the publisher is known: half a second on a client that was just made, a
// second where there is none.
//
// # Safety
// The client is not freed meanwhile.
MAGPIE_MUST_USE
MagpieResult magpie_packages(const MagpieClient *client,
                             MagpiePackages **packages);

// NULL is ignored.
//
// # Safety
// The packages are freed once, while no other call uses them.
void magpie_packages_free(MagpiePackages *packages);

// Waits for a result that was not handed out before, at most for `timeout_ms`, then says how things
// stand. `news->view` is yours, to free by magpie_view_free(). Threads wait side by side, and one of
// them gets each result. Unless the result is MAGPIE_RESULT_OK, `news` says lost, with a NULL view.
//
// # Safety
// The packages are not freed meanwhile.
MAGPIE_MUST_USE
MagpieResult magpie_next(const MagpiePackages *packages,
                         uint32_t timeout_ms,
                         MagpieNews *news);

// Asks for the first result whose exposure begins after this question, and waits for it; the daemon
// waits ten seconds at most. `*view` is yours, to free by magpie_view_free(), and NULL unless the
// result is MAGPIE_RESULT_OK.
//
// # Safety
// The client is not freed meanwhile.
MAGPIE_MUST_USE
MagpieResult magpie_capture(const MagpieClient *client,
                            uint32_t timeout_ms,
                            MagpieView **view);

// Asks for the camera's calibration.
//
// # Safety
// The client is not freed meanwhile.
MAGPIE_MUST_USE
MagpieResult magpie_camera_info(const MagpieClient *client,
                                uint32_t timeout_ms,
                                MagpieCameraInfo *info);

// The newest heartbeat. MAGPIE_RESULT_NOT_ANSWERED if nobody speaks for the cell.
//
// # Safety
// The client is not freed meanwhile.
MAGPIE_MUST_USE MagpieResult magpie_status(const MagpieClient *client, MagpieStatus *status);

// NULL is ignored.
//
// # Safety
// The view is freed once, while no other call uses it.
void magpie_view_free(MagpieView *view);

// What stands on top of a result, whatever its age.
//
// # Safety
// The view is not freed meanwhile.
MAGPIE_MUST_USE MagpieResult magpie_view_info(const MagpieView *view, MagpieViewInfo *info);

// The first grasp of the first package in pick order that has one. MAGPIE_RESULT_NONE if nothing can
// be held, MAGPIE_RESULT_EXPIRED once the time of the result is over; then the indices are those of
// nothing.
//
// # Safety
// The view is not freed meanwhile.
MAGPIE_MUST_USE
MagpieResult magpie_best_grasp(const MagpieView *view,
                               uint32_t *package_index,
                               uint32_t *grasp_index);

// One package, in pick order. MAGPIE_RESULT_EXPIRED once the time of the result is over.
//
// # Safety
// The view is not freed meanwhile.
MAGPIE_MUST_USE
MagpieResult magpie_package(const MagpieView *view,
                            uint32_t package_index,
                            MagpiePackage *package);

// What is visible of a package: one byte for each pixel of the picture, row by row, 1 on the package
// and 0 elsewhere. `pixels` is yours, and has `length` bytes: image_width_px * image_height_px.
// MAGPIE_RESULT_EXPIRED once the time of the result is over.
//
// # Safety
// `pixels` has `length` bytes, and the view is not freed meanwhile.
MAGPIE_MUST_USE
MagpieResult magpie_mask(const MagpieView *view,
                         uint32_t package_index,
                         uint8_t *pixels,
                         uintptr_t length);

// One grasp of a package, best first. MAGPIE_RESULT_EXPIRED once the time of the result is over.
//
// # Safety
// The view is not freed meanwhile.
MAGPIE_MUST_USE
MagpieResult magpie_grasp(const MagpieView *view,
                          uint32_t package_index,
                          uint32_t grasp_index,
                          MagpieGrasp *grasp);

// Where the tool holds the package, in the robot's base. MAGPIE_RESULT_WRONG_FRAME if the poses of
// this cell are not in base, MAGPIE_RESULT_EXPIRED once the time of the result is over.
//
// # Safety
// `base_from_grasp` has 16 numbers, and the view is not freed meanwhile.
MAGPIE_MUST_USE
MagpieResult magpie_base_from_grasp(const MagpieView *view,
                                    uint32_t package_index,
                                    uint32_t grasp_index,
                                    double *base_from_grasp);

// The same of a camera on the arm. Takes where the gripper was in base at the stamp.
// MAGPIE_RESULT_WRONG_FRAME if the poses of this cell are not in the gripper,
// MAGPIE_RESULT_INVALID if base_from_gripper is no pose, MAGPIE_RESULT_EXPIRED once the time of the
// result is over.
//
// # Safety
// Both poses have 16 numbers, and the view is not freed meanwhile.
MAGPIE_MUST_USE
MagpieResult magpie_pose_in_base(const MagpieView *view,
                                 uint32_t package_index,
                                 uint32_t grasp_index,
                                 const double *base_from_gripper,
                                 double *base_from_grasp);

// Where the grasp will be at a time, since its package moves on with the belt, and how sure that is
// along each axis. The pose is in the reference frame of the result: compare `reference_frame` of
// MagpieViewInfo before an arm moves by it. MAGPIE_RESULT_NONE while nobody knows how the packages
// move, MAGPIE_RESULT_INVALID further than a minute from the exposure, MAGPIE_RESULT_EXPIRED once the
// time of the result is over. Numbers that are kept do not expire: ask right before each motion.
//
// # Safety
// `reference_from_grasp` has 16 numbers, and the view is not freed meanwhile.
MAGPIE_MUST_USE
MagpieResult magpie_pose_at(const MagpieView *view,
                            uint32_t package_index,
                            uint32_t grasp_index,
                            uint64_t stamp_ns,
                            double *reference_from_grasp,
                            double *position_sigma_m);

// A report that says nothing but the outcome: for the fields that you know to be written over.
MAGPIE_MUST_USE MagpieReport magpie_report(uint32_t outcome);

// Tells the cell what became of a grasp of this view, whatever the view's age: keep it until you know.
// The daemon counts and records it; nothing that it does with pictures changes. A later report about
// the same package of the same view replaces an earlier one as a whole. Returns once the report is
// handed over to the network; nobody answers. MAGPIE_RESULT_INVALID if the daemon would refuse it,
// MAGPIE_RESULT_NOT_CONNECTED if the network does not take it.
//
// # Safety
// Texts end with a zero, and client and view are not freed meanwhile.
MAGPIE_MUST_USE
MagpieResult magpie_report_outcome(const MagpieClient *client,
                                   const MagpieView *view,
                                   uint32_t package_index,
                                   uint32_t grasp_index,
                                   const MagpieReport *report);

// Why a call of this thread failed: the last one that did not end with MAGPIE_RESULT_OK. Never NULL. The
// text belongs to the library, and holds until the next call of this thread.
const char *magpie_last_error(void);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* MAGPIE_H */
