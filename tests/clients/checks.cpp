// What a C++ program finds in a cell; prints ok, or what was not as it should be.
#include <atomic>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <iostream>
#include <string>
#include <thread>

#include <magpie.hpp>

using std::chrono::milliseconds;

#define REQUIRE(condition)                                                          \
  do {                                                                              \
    if (!(condition)) {                                                             \
      std::cout << __LINE__ << ": " #condition << ": " << magpie_last_error() << "\n"; \
      std::exit(1);                                                                 \
    }                                                                               \
  } while (0)

static magpie::Fresh fresh(magpie::Packages &packages) {
  for (int round = 0; round < 600; ++round) {
    auto news = packages.next(milliseconds(100));
    if (auto *found = std::get_if<magpie::Fresh>(&news)) return *found;
  }
  std::cout << "nothing fresh\n";
  std::exit(1);
}

template <typename Thrown, typename Work>
static bool throws(Work work) {
  try {
    work();
  } catch (const Thrown &) {
    return true;
  }
  return false;
}

static void demo(const std::string &cell) {
  magpie::Client client(cell);
  auto packages = client.packages();
  auto view = fresh(packages);
  auto info = view.info();
  REQUIRE(info.reference_frame == MAGPIE_REFERENCE_FRAME_BASE && !std::strcmp(info.frame_id, "base"));
  REQUIRE(info.package_count == view.packages().size() && info.package_count > 0);
  for (std::uint32_t at = 0; at < info.package_count; ++at) {
    auto package = view.packages()[at];
    auto mask = view.mask(at);
    std::size_t area = 0;
    for (auto pixel : mask) area += pixel;
    REQUIRE(area > 0 && area < mask.size());
    REQUIRE((package.grasp_count > 0) == !*package.refusal);
    for (std::uint32_t grasp = 0; grasp < package.grasp_count; ++grasp) {
      auto details = view.grasp(at, grasp).details();
      auto x = std::lround(details.contact_px[0]), y = std::lround(details.contact_px[1]);
      REQUIRE(mask[y * info.image_width_px + x]);
      REQUIRE(details.cup_count > 0);
    }
  }
  auto captured = client.capture(std::chrono::seconds(10));
  REQUIRE(captured.info().stamp_ns > info.stamp_ns);
  auto camera = client.camera_info(std::chrono::seconds(10));
  REQUIRE(camera.width_px == info.image_width_px && camera.k[0] > 0);
  REQUIRE(!std::strcmp(client.status().state, "ok") || !std::strcmp(client.status().state, "degraded"));
}

static void whole(magpie::Client &client) {
  auto packages = client.packages();
  auto view = fresh(packages);
  auto package = view.packages().at(0);
  REQUIRE(package.track_id == 7 && !std::strcmp(package.kind, "box") && !*package.refusal);
  REQUIRE(package.bbox_px[2] == 3.0f && std::isnan(package.height_m));
  const std::vector<std::uint8_t> mask = {0, 1, 0, 0, 0, 1, 1, 0, 0, 0, 1, 0};
  REQUIRE(view.mask(0) == mask);
  auto grasp = view.best_grasp();
  grasp = view.best_grasp();
  REQUIRE(grasp && grasp->package_index == 0);
  auto pose = grasp->base_from_grasp();
  const magpie::Matrix expected = {1, 0, 0, 0.4, 0, -1, 0, -0.1, 0, 0, -1, 0.12, 0, 0, 0, 1};
  for (int at = 0; at < 16; ++at) REQUIRE(std::abs(pose[at] - expected[at]) < 1e-12);
  REQUIRE(!grasp->pose_at(view.info().stamp_ns));
  REQUIRE(grasp->details().cup_count == 1 && grasp->details().position_sigma_m == 0.003);
  REQUIRE(throws<magpie::WrongFrame>([&] { grasp->pose_in_base(pose); }));
  REQUIRE(throws<magpie::Error>([&] { view.mask(1); }));
  REQUIRE(throws<magpie::Error>([&] { view.grasp(0, 1).details(); }));
}

static void expired(magpie::Client &client) {
  auto packages = client.packages();
  auto view = fresh(packages);
  auto grasp = view.best_grasp();
  while (view.info().expires_in_ns > 0) std::this_thread::sleep_for(milliseconds(10));
  REQUIRE(throws<magpie::Expired>([&] { view.packages(); }));
  REQUIRE(throws<magpie::Expired>([&] { view.mask(0); }));
  REQUIRE(throws<magpie::Expired>([&] { view.best_grasp(); }));
  if (grasp) {
    REQUIRE(throws<magpie::Expired>([&] { grasp->base_from_grasp(); }));
    REQUIRE(throws<magpie::Expired>([&] { grasp->details(); }));
    REQUIRE(throws<magpie::Expired>([&] { grasp->pose_at(0); }));
  }
}

static void frames(magpie::Client &client) {
  auto packages = client.packages();
  auto view = fresh(packages);
  auto grasp = *view.best_grasp();
  REQUIRE(throws<magpie::WrongFrame>([&] { grasp.base_from_grasp(); }));
  magpie::Matrix base_from_gripper = {1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0.5, 0, 0, 0, 1};
  REQUIRE(std::abs(grasp.pose_in_base(base_from_gripper)[11] - 0.62) < 1e-12);
  base_from_gripper[0] = 2;
  REQUIRE(throws<magpie::Error>([&] { grasp.pose_in_base(base_from_gripper); }));
  base_from_gripper[0] = std::nan("");
  REQUIRE(throws<magpie::Error>([&] { grasp.pose_in_base(base_from_gripper); }));
}

static void reported(magpie::Client &client) {
  auto packages = client.packages();
  auto view = fresh(packages);
  auto grasp = *view.best_grasp();
  while (view.info().expires_in_ns > 0) std::this_thread::sleep_for(milliseconds(10));
  client.report_outcome(grasp, MAGPIE_OUTCOME_DROPPED);
  magpie::Report report;
  report.weight_kg = 0.41;
  report.kind = "box";
  report.reporter = "checks";
  client.report_outcome(grasp, MAGPIE_OUTCOME_HELD, report);
  report.weight_kg = -1;
  REQUIRE(throws<magpie::Error>([&] { client.report_outcome(grasp, MAGPIE_OUTCOME_HELD, report); }));
  REQUIRE(std::strstr(magpie_last_error(), "weight_kg is -1"));
  auto none = view.grasp(0, 5);
  REQUIRE(throws<magpie::Error>([&] { client.report_outcome(none, MAGPIE_OUTCOME_HELD); }));
}

static void threads(magpie::Client &client) {
  auto packages = client.packages();
  std::atomic<int> found{0};
  std::vector<std::thread> all;
  for (int at = 0; at < 4; ++at) {
    all.emplace_back([&] {
      for (int round = 0; round < 100; ++round) {
        auto news = packages.next(milliseconds(20));
        if (auto *view = std::get_if<magpie::Fresh>(&news)) found += view->packages().size() == 1;
        (void)client.status();
      }
    });
  }
  for (auto &thread : all) thread.join();
  REQUIRE(found > 0);
}

static void silence(const char *endpoint) {
  auto client = magpie::Client::at("deck", endpoint);
  auto packages = client.packages();
  std::atomic<int> waiting{0}, ended{0};
  std::vector<std::thread> all;
  for (int at = 0; at < 4; ++at) {
    all.emplace_back([&] {
      ++waiting;
      (void)packages.next(milliseconds(5000));
      ++ended;
    });
  }
  while (waiting < 4) std::this_thread::yield();
  for (int round = 0; round < 20; ++round) (void)packages.next(milliseconds(10));
  // Twenty short waits end before the first long one.
  REQUIRE(ended == 0);
  for (auto &thread : all) thread.join();
}

static void freed(const char *endpoint) {
  MagpieClient *client = nullptr;
  MagpiePackages *packages = nullptr;
  REQUIRE(magpie_connect("dock", endpoint, nullptr, &client) == MAGPIE_RESULT_OK);
  REQUIRE(magpie_packages(client, &packages) == MAGPIE_RESULT_OK);
  magpie_client_free(client);
  MagpieNews news;
  do {
    REQUIRE(magpie_next(packages, 100, &news) == MAGPIE_RESULT_OK);
  } while (news.state != MAGPIE_STATE_FRESH);
  magpie_packages_free(packages);
  MagpieViewInfo info;
  REQUIRE(magpie_view_info(news.view, &info) == MAGPIE_RESULT_OK && info.package_count == 1);
  // In a callback: on a thread that made none of it.
  std::thread([&] { magpie_view_free(news.view); }).join();
}

static void arguments(const char *endpoint) {
  MagpieClient *client = reinterpret_cast<MagpieClient *>(1);
  REQUIRE(magpie_connect(nullptr, nullptr, nullptr, &client) == MAGPIE_RESULT_INVALID && !client);
  REQUIRE(magpie_connect("a/b", nullptr, nullptr, &client) == MAGPIE_RESULT_INVALID);
  REQUIRE(std::strstr(magpie_last_error(), "cell name"));
  client = reinterpret_cast<MagpieClient *>(1);
  REQUIRE(magpie_connect("\xff", nullptr, nullptr, &client) == MAGPIE_RESULT_INVALID && !client);
  REQUIRE(magpie_connect("dock", endpoint, "x", &client) == MAGPIE_RESULT_INVALID);
  REQUIRE(magpie_connect("dock", "tcp/127.0.0.1:1", nullptr, &client) == MAGPIE_RESULT_NOT_CONNECTED);
  REQUIRE(std::strstr(magpie_last_error(), "listening there"));
  REQUIRE(magpie_connect("dock", endpoint, nullptr, nullptr) == MAGPIE_RESULT_INVALID);
  REQUIRE(magpie_packages(nullptr, nullptr) == MAGPIE_RESULT_INVALID);
  MagpieNews news{};
  REQUIRE(magpie_next(nullptr, 0, &news) == MAGPIE_RESULT_INVALID);
  REQUIRE(news.state == MAGPIE_STATE_LOST && !news.view);
  REQUIRE(magpie_view_info(nullptr, nullptr) == MAGPIE_RESULT_INVALID);
  REQUIRE(magpie_mask(nullptr, 0, nullptr, 0) == MAGPIE_RESULT_INVALID);
  MagpieReport report = magpie_report(9);
  REQUIRE(magpie_report_outcome(nullptr, nullptr, 0, 0, &report) == MAGPIE_RESULT_INVALID);
  magpie_client_free(nullptr);
  magpie_packages_free(nullptr);
  magpie_view_free(nullptr);
  magpie::Client deck = magpie::Client::at("deck", endpoint);
  REQUIRE(throws<magpie::Error>([&] { deck.status(); }));
  REQUIRE(throws<magpie::Error>([&] { deck.capture(milliseconds(100)); }));
  auto packages = deck.packages();
  auto lost = std::get<magpie::Lost>(packages.next(milliseconds(0)));
  REQUIRE(lost.code == "never_heard" && lost.why.find("is the cell's name right") != std::string::npos);
}

static void never(magpie::Client &client, const std::string &code) {
  auto packages = client.packages();
  for (int round = 0; round < 600; ++round) {
    auto news = packages.next(milliseconds(100));
    REQUIRE(!std::holds_alternative<magpie::Fresh>(news));
    auto *stale = std::get_if<magpie::Stale>(&news);
    auto *lost = std::get_if<magpie::Lost>(&news);
    if ((stale && stale->code == code) || (lost && lost->code == code)) return;
  }
  std::cout << "never " << code << "\n";
  std::exit(1);
}

int main(int count, char **values) try {
  const std::string what = values[1];
  if (what == "demo") {
    demo(values[2]);
  } else if (what == "freed") {
    freed(values[2]);
  } else if (what == "silence") {
    silence(values[2]);
  } else if (what == "arguments") {
    arguments(values[2]);
  } else {
    auto client = magpie::Client::at("dock", values[2]);
    if (what == "whole") {
      whole(client);
    } else if (what == "expired") {
      expired(client);
    } else if (what == "frames") {
      frames(client);
    } else if (what == "reported") {
      reported(client);
    } else if (what == "threads") {
      threads(client);
    } else if (what == "never" && count > 3) {
      never(client, values[3]);
    } else {
      std::cout << "no check " << what << "\n";
      return 1;
    }
  }
  std::cout << "ok\n";
} catch (const std::exception &error) {
  std::cout << "threw: " << error.what() << "\n";
  return 1;
}
