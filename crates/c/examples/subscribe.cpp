// The smallest arm controller: waits for the best grasp of a cell and prints it.
//
//   c++ -std=c++17 subscribe.cpp $(pkg-config --cflags --libs magpie) -o subscribe && ./subscribe demo
#include <cstdio>

#include <magpie.hpp>

int main(int count, char **arguments) try {
  magpie::Client client(count > 1 ? arguments[1] : "demo");
  auto packages = client.packages();
  for (int round = 0; round < 10; ++round) {
    auto news = packages.next(std::chrono::seconds(1));
    if (auto *fresh = std::get_if<magpie::Fresh>(&news)) {
      auto grasp = fresh->best_grasp();
      if (!grasp) {
        std::puts("nothing to hold");
        continue;
      }
      auto pose = grasp->base_from_grasp();
      std::printf("hold it at %.3f %.3f %.3f m\n", pose[3], pose[7], pose[11]);
    } else if (auto *stale = std::get_if<magpie::Stale>(&news)) {
      std::printf("wait: %s\n", stale->why.c_str());
    } else {
      std::printf("stop: %s\n", std::get<magpie::Lost>(news).why.c_str());
    }
  }
} catch (const magpie::Error &error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
