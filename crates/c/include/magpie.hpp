// The results of a Magpie cell for C++17, on top of magpie.h.
//
//   magpie::Client client("dock-7");
//   auto packages = client.packages();
//   for (;;) {
//     auto news = packages.next(std::chrono::milliseconds(200));
//     if (auto *fresh = std::get_if<magpie::Fresh>(&news)) {
//       if (auto grasp = fresh->best_grasp()) {
//         move_to(grasp->base_from_grasp());
//         client.report_outcome(*grasp, MAGPIE_OUTCOME_HELD);
//       }
//     } else if (auto *stale = std::get_if<magpie::Stale>(&news)) {
//       wait(stale->why);
//     } else {
//       stop(std::get<magpie::Lost>(news).why);
//     }
//   }
//
// Ownership: every object owns what it has, and is moved, not copied; Fresh and what comes of it
// share the result. Thread safety: as in magpie.h; one object may be used by several threads at once,
// and is destroyed or moved when none uses it any more. What does not succeed throws magpie::Error.
#ifndef MAGPIE_HPP
#define MAGPIE_HPP

#include <array>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "magpie.h"

namespace magpie {

/// Homogeneous 4x4, row by row, metres: [3], [7], [11] is the position, [2], [6], [10] the approach.
using Matrix = std::array<double, 16>;

class Error : public std::runtime_error {
 public:
  Error(MagpieResult result, const std::string &what) : std::runtime_error(what), result(result) {}
  const MagpieResult result;
};

/// The time of the result was over when it was asked for.
class Expired : public Error {
  using Error::Error;
};

/// The pose is in another reference frame than the one that was asked for.
class WrongFrame : public Error {
  using Error::Error;
};

namespace detail {

inline void check(MagpieResult result) {
  switch (result) {
    case MAGPIE_RESULT_OK:
      return;
    case MAGPIE_RESULT_EXPIRED:
      throw Expired(result, magpie_last_error());
    case MAGPIE_RESULT_WRONG_FRAME:
      throw WrongFrame(result, magpie_last_error());
    default:
      throw Error(result, magpie_last_error());
  }
}

template <typename T, void (*Free)(T *)>
struct Freed {
  void operator()(T *handle) const { Free(handle); }
};

inline unsigned milliseconds(std::chrono::milliseconds time) {
  if (time.count() < 0) return 0;
  return time.count() > 86400000 ? 86400000u : static_cast<unsigned>(time.count());
}

using View = std::shared_ptr<MagpieView>;

inline View owned(MagpieView *view) { return View(view, magpie_view_free); }

}  // namespace detail

/// What may be known of a pick beside its outcome.
struct Report {
  /// When it was over, in nanoseconds since 1970; 0: now.
  std::uint64_t done_ns = 0;
  /// How far the pressure in the cups fell below the air's, in pascals.
  std::optional<double> vacuum_pa;
  /// What hung on the tool, in kilograms.
  std::optional<double> weight_kg;
  /// What a later station read it to be, in the words of the model's types; empty: not read.
  std::string kind;
  /// Who reports, for people.
  std::string reporter;
};

/// Where and how a suction tool can hold a package. Poses look at the clock: they throw Expired.
class Grasp {
 public:
  Grasp(detail::View view, std::uint32_t package_index, std::uint32_t index)
      : package_index(package_index), index(index), view_(std::move(view)) {}

  /// Throws WrongFrame if the poses of the cell are not in the robot's base.
  Matrix base_from_grasp() const {
    Matrix pose;
    detail::check(magpie_base_from_grasp(view_.get(), package_index, index, pose.data()));
    return pose;
  }

  /// The same of a camera on the arm, from where the gripper was at the stamp.
  Matrix pose_in_base(const Matrix &base_from_gripper) const {
    Matrix pose;
    detail::check(magpie_pose_in_base(view_.get(), package_index, index, base_from_gripper.data(),
                                      pose.data()));
    return pose;
  }

  /// Where it will be, in the reference frame of the result (look at info().reference_frame first),
  /// and how sure that is in metres along each axis; nothing while nobody knows how the packages move.
  std::optional<std::pair<Matrix, double>> pose_at(std::uint64_t stamp_ns) const {
    std::pair<Matrix, double> later;
    auto result = magpie_pose_at(view_.get(), package_index, index, stamp_ns, later.first.data(),
                                 &later.second);
    if (result == MAGPIE_RESULT_NONE) return std::nullopt;
    detail::check(result);
    return later;
  }

  MagpieGrasp details() const {
    MagpieGrasp grasp;
    detail::check(magpie_grasp(view_.get(), package_index, index, &grasp));
    return grasp;
  }

  std::uint32_t package_index;
  std::uint32_t index;

 private:
  friend class Client;
  detail::View view_;
};

/// A result that may be acted upon until it expires.
class Fresh {
 public:
  explicit Fresh(detail::View view) : view_(std::move(view)) {}

  /// Whatever its age.
  MagpieViewInfo info() const {
    MagpieViewInfo info;
    detail::check(magpie_view_info(view_.get(), &info));
    return info;
  }

  /// Of the first package in pick order that can be held; throws Expired.
  std::optional<Grasp> best_grasp() const {
    std::uint32_t package, grasp;
    auto result = magpie_best_grasp(view_.get(), &package, &grasp);
    if (result == MAGPIE_RESULT_NONE) return std::nullopt;
    detail::check(result);
    return Grasp(view_, package, grasp);
  }

  /// All packages, in pick order; throws Expired.
  std::vector<MagpiePackage> packages() const {
    std::vector<MagpiePackage> packages(info().package_count);
    for (std::uint32_t at = 0; at < packages.size(); ++at) {
      detail::check(magpie_package(view_.get(), at, &packages[at]));
    }
    return packages;
  }

  /// One byte for each pixel of the picture, row by row; throws Expired.
  std::vector<std::uint8_t> mask(std::uint32_t package_index) const {
    const auto about = info();
    std::vector<std::uint8_t> pixels(std::size_t(about.image_width_px) * about.image_height_px);
    detail::check(magpie_mask(view_.get(), package_index, pixels.data(), pixels.size()));
    return pixels;
  }

  Grasp grasp(std::uint32_t package_index, std::uint32_t grasp_index) const {
    return Grasp(view_, package_index, grasp_index);
  }

 private:
  detail::View view_;
};

/// The daemon lives, but it has no result that may be acted upon: wait.
struct Stale {
  std::string code, why;
};

/// The daemon left, is silent, reports a fault, or is not the only one: stop.
struct Lost {
  std::string code, why;
};

using News = std::variant<Fresh, Stale, Lost>;

class Packages {
 public:
  explicit Packages(MagpiePackages *packages) : packages_(packages) {}

  /// Waits for a result that was not handed out before, then says how things stand.
  News next(std::chrono::milliseconds timeout) {
    MagpieNews news;
    detail::check(magpie_next(packages_.get(), detail::milliseconds(timeout), &news));
    switch (news.state) {
      case MAGPIE_STATE_FRESH:
        return Fresh(detail::owned(news.view));
      case MAGPIE_STATE_STALE:
        return Stale{news.code, news.why};
      default:
        return Lost{news.code, news.why};
    }
  }

 private:
  std::unique_ptr<MagpiePackages, detail::Freed<MagpiePackages, magpie_packages_free>> packages_;
};

class Client {
 public:
  /// Finds a cell of this machine by its name. Throws Error, with MAGPIE_RESULT_NOT_CONNECTED if
  /// there is none.
  explicit Client(const std::string &cell, const MagpieLimits &limits = magpie_limits())
      : Client(cell, nullptr, nullptr, limits) {}

  /// A cell of another machine: "tcp/192.168.1.7:17447".
  static Client at(const std::string &cell, const std::string &endpoint,
                   const MagpieLimits &limits = magpie_limits()) {
    return Client(cell, endpoint.c_str(), nullptr, limits);
  }

  /// A cell that asks for certificates, which a file of zenoh's names.
  static Client by_file(const std::string &cell, const std::string &zenoh_file,
                        const MagpieLimits &limits = magpie_limits()) {
    return Client(cell, nullptr, zenoh_file.c_str(), limits);
  }

  Packages packages() const {
    MagpiePackages *packages;
    detail::check(magpie_packages(client_.get(), &packages));
    return Packages(packages);
  }

  /// The first result whose exposure begins after this question.
  Fresh capture(std::chrono::milliseconds timeout) const {
    MagpieView *view;
    detail::check(magpie_capture(client_.get(), detail::milliseconds(timeout), &view));
    return Fresh(detail::owned(view));
  }

  MagpieCameraInfo camera_info(std::chrono::milliseconds timeout) const {
    MagpieCameraInfo info;
    detail::check(magpie_camera_info(client_.get(), detail::milliseconds(timeout), &info));
    return info;
  }

  /// Tells the cell what became of a grasp, also long after its result has expired: keep it until you
  /// know. A later report about the same package of the same result replaces an earlier one. Returns
  /// once the network has the report; nobody answers. Throws Error, with MAGPIE_RESULT_INVALID for what
  /// the daemon would refuse.
  void report_outcome(const Grasp &grasp, MagpieOutcome outcome, const Report &report = {}) const {
    MagpieReport told = magpie_report(outcome);
    told.done_ns = report.done_ns;
    if (report.vacuum_pa) told.vacuum_pa = *report.vacuum_pa;
    if (report.weight_kg) told.weight_kg = *report.weight_kg;
    told.kind = report.kind.c_str();
    told.reporter = report.reporter.c_str();
    detail::check(magpie_report_outcome(client_.get(), grasp.view_.get(), grasp.package_index,
                                        grasp.index, &told));
  }

  MagpieStatus status() const {
    MagpieStatus status;
    detail::check(magpie_status(client_.get(), &status));
    return status;
  }

 private:
  Client(const std::string &cell, const char *endpoint, const char *zenoh_file,
         const MagpieLimits &limits) {
    MagpieClient *client;
    detail::check(magpie_connect_within(cell.c_str(), endpoint, zenoh_file, &limits, &client));
    client_.reset(client);
  }

  std::unique_ptr<MagpieClient, detail::Freed<MagpieClient, magpie_client_free>> client_;
};

}  // namespace magpie

#endif  // MAGPIE_HPP
