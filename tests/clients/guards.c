// What a C program is kept from; prints ok, or what was not as it should be.
#define _POSIX_C_SOURCE 200809L
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <magpie.h>

#define REQUIRE(condition)                                                              \
  do {                                                                                  \
    if (!(condition)) {                                                                 \
      printf("%d: " #condition ": %s\n", __LINE__, magpie_last_error());                \
      exit(1);                                                                          \
    }                                                                                   \
  } while (0)

static const double IDENTITY[16] = {1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1};

static int is_nothing(const double *pose) {
  for (int at = 0; at < 16; ++at) {
    if (!isnan(pose[at])) return 0;
  }
  return 1;
}

static MagpieClient *connect_to(const char *endpoint) {
  MagpieClient *client;
  REQUIRE(magpie_connect("dock", endpoint, NULL, &client) == MAGPIE_RESULT_OK);
  return client;
}

static MagpieView *fresh(const MagpieClient *client) {
  MagpiePackages *packages;
  MagpieNews news;
  REQUIRE(magpie_packages(client, &packages) == MAGPIE_RESULT_OK);
  do {
    REQUIRE(magpie_next(packages, 100, &news) == MAGPIE_RESULT_OK);
  } while (news.state != MAGPIE_STATE_FRESH);
  magpie_packages_free(packages);
  return news.view;
}

static void wait_until_expired(const MagpieView *view) {
  MagpieViewInfo info;
  const struct timespec moment = {0, 10000000};
  do {
    nanosleep(&moment, NULL);
    REQUIRE(magpie_view_info(view, &info) == MAGPIE_RESULT_OK);
  } while (info.expires_in_ns > 0);
}

// Each answer is there, and is gone when the same place is used once the result has expired.
static void nothing_left(const char *endpoint) {
  MagpieClient *client = connect_to(endpoint);
  MagpieView *view = fresh(client);
  uint32_t package_index = 7, grasp_index = 7;
  MagpiePackage package;
  MagpieGrasp grasp;
  MagpieViewInfo info;
  double base_from_grasp[16], in_base[16], later[16], sigma_m = 1;
  uint8_t pixels[12];
  REQUIRE(magpie_view_info(view, &info) == MAGPIE_RESULT_OK);
  REQUIRE(magpie_best_grasp(view, &package_index, &grasp_index) == MAGPIE_RESULT_OK);
  REQUIRE(magpie_package(view, 0, &package) == MAGPIE_RESULT_OK && package.grasp_count == 1);
  REQUIRE(magpie_grasp(view, 0, 0, &grasp) == MAGPIE_RESULT_OK && grasp.quality > 0.5f);
  REQUIRE(magpie_mask(view, 0, pixels, sizeof pixels) == MAGPIE_RESULT_OK && pixels[1] == 1);
  REQUIRE(magpie_base_from_grasp(view, 0, 0, base_from_grasp) == MAGPIE_RESULT_OK);
  REQUIRE(fabs(base_from_grasp[3] - 0.4) < 1e-12);
  REQUIRE(magpie_pose_at(view, 0, 0, info.stamp_ns + 100000000, later, &sigma_m) == MAGPIE_RESULT_OK);
  REQUIRE(fabs(later[3] - 0.45) < 1e-9);
  memcpy(in_base, IDENTITY, sizeof in_base);
  REQUIRE(magpie_pose_in_base(view, 0, 0, in_base, in_base) == MAGPIE_RESULT_WRONG_FRAME);
  REQUIRE(is_nothing(in_base));

  // A question that makes no sense.
  const uint64_t far_ns[] = {0, 1000000000, info.stamp_ns + 61000000000, UINT64_MAX};
  for (int at = 0; at < 4; ++at) {
    memcpy(later, IDENTITY, sizeof later);
    REQUIRE(magpie_pose_at(view, 0, 0, far_ns[at], later, &sigma_m) == MAGPIE_RESULT_INVALID);
    REQUIRE(is_nothing(later) && isnan(sigma_m) && strstr(magpie_last_error(), "exposure"));
  }
  REQUIRE(magpie_mask(view, 0, NULL, sizeof pixels) == MAGPIE_RESULT_INVALID);
  REQUIRE(strstr(magpie_last_error(), "pixels is NULL"));
  REQUIRE(magpie_mask(view, 0, pixels, sizeof pixels - 1) == MAGPIE_RESULT_INVALID && !pixels[1]);
  REQUIRE(strstr(magpie_last_error(), "11 bytes long; the picture has 12 pixels"));

  REQUIRE(magpie_mask(view, 0, pixels, sizeof pixels) == MAGPIE_RESULT_OK && pixels[1] == 1);
  wait_until_expired(view);
  REQUIRE(magpie_best_grasp(view, &package_index, &grasp_index) == MAGPIE_RESULT_EXPIRED);
  REQUIRE(package_index == UINT32_MAX && grasp_index == UINT32_MAX);
  REQUIRE(magpie_package(view, 0, &package) == MAGPIE_RESULT_EXPIRED);
  REQUIRE(!*package.kind && isnan(package.score) && isnan(package.bbox_px[0]) && !package.grasp_count);
  REQUIRE(magpie_grasp(view, 0, 0, &grasp) == MAGPIE_RESULT_EXPIRED);
  REQUIRE(is_nothing(grasp.reference_from_grasp) && isnan(grasp.quality) && !grasp.cup_count);
  REQUIRE(magpie_mask(view, 0, pixels, sizeof pixels) == MAGPIE_RESULT_EXPIRED && !pixels[1]);
  REQUIRE(magpie_base_from_grasp(view, 0, 0, base_from_grasp) == MAGPIE_RESULT_EXPIRED);
  REQUIRE(is_nothing(base_from_grasp));
  memcpy(later, IDENTITY, sizeof later);
  REQUIRE(magpie_pose_at(view, 0, 0, info.stamp_ns, later, &sigma_m) == MAGPIE_RESULT_EXPIRED);
  REQUIRE(is_nothing(later) && isnan(sigma_m));
  REQUIRE(magpie_view_info(NULL, &info) == MAGPIE_RESULT_INVALID && !info.package_count);
  magpie_view_free(view);

  MagpieStatus status;
  REQUIRE(magpie_status(client, &status) == MAGPIE_RESULT_OK && !strcmp(status.state, "ok"));
  REQUIRE(magpie_status(NULL, &status) == MAGPIE_RESULT_INVALID && !*status.state);
  MagpieCameraInfo camera = {.width_px = 640};
  REQUIRE(magpie_camera_info(client, 50, &camera) == MAGPIE_RESULT_NOT_ANSWERED);
  REQUIRE(!camera.width_px && isnan(camera.k[0]));
  magpie_client_free(client);
}

// The publisher's clock is a second ahead, which is more than is usual.
static void limits(const char *endpoint) {
  MagpieLimits wide = magpie_limits();
  REQUIRE(wide.heartbeat_silence_ms_max == 500 && wide.clock_ahead_ms_max == 5);
  REQUIRE(wide.result_valid_ms_max == 5000);
  wide.clock_ahead_ms_max = 2000;
  MagpieClient *client = (MagpieClient *)1;
  REQUIRE(magpie_connect_within("dock", endpoint, NULL, NULL, &client) == MAGPIE_RESULT_INVALID);
  REQUIRE(!client && strstr(magpie_last_error(), "limits is NULL"));
  REQUIRE(magpie_connect_within("dock", endpoint, NULL, &wide, &client) == MAGPIE_RESULT_OK);
  magpie_view_free(fresh(client));
  magpie_client_free(client);
}

static void in_the_fork(MagpieClient *client, MagpiePackages *packages, MagpieView *view,
                        const char *endpoint) {
  MagpieNews news;
  MagpieViewInfo info;
  MagpieStatus status;
  MagpieClient *other = client;
  REQUIRE(magpie_next(packages, 0, &news) == MAGPIE_RESULT_NOT_CONNECTED);
  REQUIRE(news.state == MAGPIE_STATE_LOST && strstr(magpie_last_error(), "fork"));
  REQUIRE(magpie_view_info(view, &info) == MAGPIE_RESULT_NOT_CONNECTED);
  REQUIRE(magpie_status(client, &status) == MAGPIE_RESULT_NOT_CONNECTED);
  REQUIRE(magpie_connect("dock", endpoint, NULL, &other) == MAGPIE_RESULT_NOT_CONNECTED && !other);
  REQUIRE(magpie_connect("dock", NULL, NULL, &other) == MAGPIE_RESULT_NOT_CONNECTED);
  REQUIRE(strstr(magpie_last_error(), "fork"));
  magpie_view_free(view);
  magpie_packages_free(packages);
  magpie_client_free(client);
}

static void fork_is_told(const char *endpoint) {
  MagpieClient *client = connect_to(endpoint);
  MagpiePackages *packages;
  REQUIRE(magpie_packages(client, &packages) == MAGPIE_RESULT_OK);
  MagpieView *view = fresh(client);
  fflush(stdout);
  pid_t child = fork();
  if (child == 0) {
    in_the_fork(client, packages, view, endpoint);
    fflush(stdout);
    _exit(0);
  }
  int ended = 1;
  REQUIRE(waitpid(child, &ended, 0) == child && ended == 0);
  magpie_view_free(view);
  magpie_view_free(fresh(client));
  magpie_packages_free(packages);
  magpie_client_free(client);
}

int main(int count, char **values) {
  if (count != 3) return 2;
  if (!strcmp(values[1], "nothing_left")) nothing_left(values[2]);
  else if (!strcmp(values[1], "limits")) limits(values[2]);
  else if (!strcmp(values[1], "fork")) fork_is_told(values[2]);
  else return 2;
  puts("ok");
  return 0;
}
