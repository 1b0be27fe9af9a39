// Shared memory of one emulated block: bytes, chunks in flight, and who touched which word.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <tuple>
#include <vector>

#include "emulator.h"

namespace spion_bench::emu {

constexpr uint32_t kChunk = 16;  // bytes of one cp.async

// Who accesses: a lane, or a whole warp at once (ldmatrix hands rows to other lanes).
struct Accessor {
  int warp, lane;
};
constexpr int kWholeWarp = 32;

// Counts how often a warp's loads and stores meet in a bank. The lanes of an instruction arrive one
// by one, so it is known by its place in the sources and by how often a lane has been there.
class BankCounter {
 public:
  void note(Site site, Accessor who, uint32_t address, uint32_t bytes);
  // Wavefronts of all noted accesses beyond one for every 128 bytes that the lanes ask for.
  uint64_t take_conflicts();

 private:
  using Place = std::tuple<const char*, int, int, uint32_t>;  // file, line, warp, bytes of a lane
  std::map<Place, std::array<std::vector<uint32_t>, kWarpSize>> addresses_;
};

class SharedMemory {
 public:
  void prepare(size_t bytes, bool checks_races);
  void start_block();
  void new_block_epoch() { ++block_epoch_; }

  // Checks bounds, alignment, copies in flight and races.
  unsigned char* access(uint32_t address, uint32_t bytes, bool is_write, Accessor who,
                        const Warp& warp, Site site);
  void begin_copy(uint32_t to, Accessor who, const Warp& warp, Site site);
  void finish_copy(const PendingCopy& copy, Accessor who, const Warp& warp);

 private:
  // The last writer and the last reader of a word. Epochs tell what has been ordered since.
  struct Touch {
    int32_t warp = -1, lane = -1;
    uint32_t block_epoch = 0, warp_epoch = 0;
  };
  struct Word {
    Touch writer, reader;
    Site writer_site, reader_site;
  };
  bool is_ordered(const Touch& before, Accessor who, const Warp& warp) const;
  void check_races(uint32_t address, uint32_t bytes, bool is_write, Accessor who, const Warp& warp,
                   Site site);
  void check_address(uint32_t address, uint32_t bytes, Site site) const;

  std::vector<unsigned char> bytes_;
  std::vector<uint8_t> in_flight_;  // per chunk
  std::vector<Word> words_;
  uint32_t block_epoch_ = 0;
  bool checks_races_ = true;
};

}  // namespace spion_bench::emu
