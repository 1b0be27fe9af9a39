// All CPU operators as one file to the compiler. Torch's headers take it several times as long as
// an operator does; here it reads them once.
#include "../attention_map.cpp"
#include "../average_pool.cpp"
#include "../block_attention.cpp"
#include "../block_dropout.cpp"
#include "../block_sddmm.cpp"
#include "../block_softmax.cpp"
#include "../block_spmm.cpp"
#include "../diagonal_conv.cpp"
#include "../flood_fill.cpp"
