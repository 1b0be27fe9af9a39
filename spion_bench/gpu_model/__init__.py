"""A model of the GPU kernels at the tasks' shapes; nothing in it is measured."""
