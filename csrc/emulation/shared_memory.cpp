// Checks of every access to emulated shared memory; see shared_memory.h.
//
// A word remembers its last writer and its last readers. Two accesses are ordered if a
// __syncthreads lies between them, or, within a warp, a __syncwarp; shuffles, ldmatrix and mma
// order nothing.
#include "shared_memory.h"

#include <algorithm>
#include <set>

#include "block.h"

namespace spion_bench::emu {
namespace {

constexpr int32_t kSeveralWarps = -2;

}  // namespace

void BankCounter::note(Site site, Accessor who, uint32_t address, uint32_t bytes) {
  addresses_[{site.file, site.line, who.warp, bytes}][who.lane].push_back(address);
}

// Lanes that ask for more than 4 bytes take turns: half a warp for 8, a quarter for 16.
uint64_t BankCounter::take_conflicts() {
  uint64_t conflicts = 0;
  for (const auto& [place, lanes] : addresses_) {
    const uint32_t bytes = std::get<3>(place);
    size_t n_visits = 0;
    for (const auto& visits : lanes) n_visits = std::max(n_visits, visits.size());
    for (size_t visit = 0; visit < n_visits; ++visit)
      for (uint32_t first = 0; first < kWarpSize; first += 128 / bytes) {
        std::array<std::set<uint32_t>, 32> words;  // by bank
        size_t wavefronts = 1;
        for (uint32_t lane = first; lane < first + 128 / bytes; ++lane)
          for (uint32_t i = 0; i < bytes && visit < lanes[lane].size(); i += 4) {
            const uint32_t word = (lanes[lane][visit] + i) / 4;
            words[word % 32].insert(word);
            wavefronts = std::max(wavefronts, words[word % 32].size());
          }
        conflicts += wavefronts - 1;
      }
  }
  addresses_.clear();
  return conflicts;
}

void SharedMemory::prepare(size_t bytes, bool checks_races) {
  bytes_.resize(bytes);
  in_flight_.assign((bytes + kChunk - 1) / kChunk, 0);
  checks_races_ = checks_races;
  if (checks_races) words_.resize((bytes + 3) / 4);
}

void SharedMemory::start_block() {
  std::fill(bytes_.begin(), bytes_.end(), 0xFF);
  new_block_epoch();
}

void SharedMemory::check_address(uint32_t address, uint32_t bytes, Site site) const {
  if (address % bytes != 0) fail(site, "misaligned shared access: %u bytes at %u", bytes, address);
  if (static_cast<size_t>(address) + bytes > bytes_.size())
    fail(site, "shared access out of bounds: %u bytes at %u of %zu", bytes, address, bytes_.size());
}

unsigned char* SharedMemory::access(uint32_t address, uint32_t bytes, bool is_write, Accessor who,
                                    const Warp& warp, Site site) {
  check_address(address, bytes, site);
  if (in_flight_[address / kChunk])
    fail(site, "shared access to a chunk in flight: cp.async to %u has not been waited for",
         address / kChunk * kChunk);
  if (checks_races_) check_races(address, bytes, is_write, who, warp, site);
  return bytes_.data() + address;
}

bool SharedMemory::is_ordered(const Touch& before, Accessor who, const Warp& warp) const {
  if (before.block_epoch != block_epoch_) return true;
  if (before.warp != who.warp) return false;
  return before.warp_epoch != warp.epoch || (before.lane == who.lane && who.lane != kWholeWarp);
}

void SharedMemory::check_races(uint32_t address, uint32_t bytes, bool is_write, Accessor who,
                               const Warp& warp, Site site) {
  for (uint32_t w = address / 4; w < (address + bytes) / 4; ++w) {
    Word& word = words_[w];
    if (!is_ordered(word.writer, who, warp))
      fail(site, "race on shared byte %u: %s by warp %d lane %d at line %d", 4 * w,
           is_write ? "written after a write" : "read after a write", word.writer.warp,
           word.writer.lane, word.writer_site.line);
    Touch& reader = word.reader;
    if (is_write) {
      if (!is_ordered(reader, who, warp))
        fail(site, "race on shared byte %u: written after a read by warp %d lane %d at line %d",
             4 * w, reader.warp, reader.lane, word.reader_site.line);
      word.writer = {who.warp, who.lane, block_epoch_, warp.epoch};
      word.writer_site = site;
      continue;
    }
    Touch now{who.warp, who.lane, block_epoch_, warp.epoch};
    if (reader.block_epoch == block_epoch_) {
      if (reader.warp != who.warp)
        now.warp = kSeveralWarps;
      else if (reader.warp_epoch == warp.epoch && reader.lane != who.lane)
        now.lane = kWholeWarp;
    }
    reader = now;
    word.reader_site = site;
  }
}

// The bytes may arrive at any time from now on: for the race check, a copy writes twice, when it
// starts and when it has been waited for.
void SharedMemory::begin_copy(uint32_t to, Accessor who, const Warp& warp, Site site) {
  check_address(to, kChunk, site);
  if (in_flight_[to / kChunk])
    fail(site, "cp.async to %u, where another copy is still in flight", to);
  if (checks_races_) check_races(to, kChunk, true, who, warp, site);
  in_flight_[to / kChunk] = 1;
  std::fill_n(bytes_.begin() + to, kChunk, 0xFF);
}

void SharedMemory::finish_copy(const PendingCopy& copy, Accessor who, const Warp& warp) {
  in_flight_[copy.to / kChunk] = 0;
  unsigned char* to = access(copy.to, kChunk, true, who, warp, {});
  if (copy.inside)
    std::memcpy(to, copy.from, kChunk);
  else
    std::memset(to, 0, kChunk);
}

unsigned char* shared_bytes(uint32_t address, int bytes, bool is_write, Site site) {
  const Lane& lane = *current;
  const Accessor who{lane.warp->index, lane.lane};
  const auto size = static_cast<uint32_t>(bytes);
  Block& block = *Block::running;
  if (block.counts_banks) block.banks.note(site, who, address, size);
  return block.shared.access(address, size, is_write, who, *lane.warp, site);
}

void cp_async_16(uint32_t to, const void* from, bool inside, Site site) {
  if (inside) check_aligned(from, kChunk, site);
  Lane& lane = *current;
  Block::running->shared.begin_copy(to, {lane.warp->index, lane.lane}, *lane.warp, site);
  lane.copies.push_back({to, inside, from});
}

void cp_async_commit() { current->groups.push_back(current->copies.size()); }

void cp_async_wait(int groups_left) {
  Lane& lane = *current;
  const auto n_groups = static_cast<int>(lane.groups.size());
  if (n_groups <= groups_left) return;
  const int n_done = n_groups - groups_left;
  const size_t end = lane.groups[n_done - 1];
  for (size_t i = 0; i < end; ++i)
    Block::running->shared.finish_copy(lane.copies[i], {lane.warp->index, lane.lane}, *lane.warp);
  lane.copies.erase(lane.copies.begin(), lane.copies.begin() + static_cast<ptrdiff_t>(end));
  lane.groups.erase(lane.groups.begin(), lane.groups.begin() + n_done);
  for (size_t& group : lane.groups) group -= end;
}

}  // namespace spion_bench::emu
