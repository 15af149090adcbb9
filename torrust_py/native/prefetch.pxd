# cython: language_level=3
"""Hints to the processor that memory will soon be read, or written; nothing where a compiler does not have them."""

cdef extern from *:
    """
    #ifndef PREFETCH_READ
    #if defined(__GNUC__) || defined(__clang__)
    #define PREFETCH_READ(p) __builtin_prefetch((const void *)(p), 0)
    #define PREFETCH_WRITE(p) __builtin_prefetch((const void *)(p), 1)
    #else
    #define PREFETCH_READ(p) ((void)(p))
    #define PREFETCH_WRITE(p) ((void)(p))
    #endif
    #endif
    """
    void PREFETCH_READ(const void *) noexcept nogil
    void PREFETCH_WRITE(const void *) noexcept nogil
