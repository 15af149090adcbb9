# cython: language_level=3
"""Huge pages for what holds a million peers. In pages of 4 KiB nearly every access to one misses the processor's
table of pages, which in a virtual machine costs as much as all else that is done for an announce.

These are hints to the kernel, which may be set not to heed them (/sys/kernel/mm/transparent_hugepage/enabled). Of
the heap they are given with a glibc only, whose heap has one end.
"""

from libc.stdint cimport uintptr_t

cdef extern from *:
    """
    #ifndef TORRUST_HUGE_PAGES
    #define TORRUST_HUGE_PAGES
    #include <stdlib.h>
    #ifdef __linux__
    #include <sys/mman.h>
    #define ADVISE(start, size) ((void)madvise((start), (size), 14))  // MADV_HUGEPAGE
    #else
    #define ADVISE(start, size) ((void)(start), (void)(size))
    #endif
    #ifdef __GLIBC__
    #include <malloc.h>
    #include <unistd.h>
    #define END_OF_HEAP() sbrk(0)
    #define GROW_HEAP_BY(size) ((void)mallopt(M_TOP_PAD, (size)))
    #else
    #define END_OF_HEAP() NULL
    #define GROW_HEAP_BY(size) ((void)(size))
    #endif
    #endif
    """
    void ADVISE(void *, size_t) noexcept nogil
    void *END_OF_HEAP() noexcept nogil
    void GROW_HEAP_BY(int) noexcept nogil

cdef enum:
    PAGE = 0x1000
    LARGE_ARRAY = 0x400000
    HEAP_STEP = 0x1000000


cdef inline void use_huge_pages(void *start, size_t size) noexcept nogil:
    """For an array that has this size now, if it is so large that it has memory of its own."""
    cdef uintptr_t first = <uintptr_t>start & ~<uintptr_t>(PAGE - 1)
    if size >= LARGE_ARRAY:
        ADVISE(<void *>first, <uintptr_t>start + size - first)


cdef inline void *use_huge_pages_of_heap(void *known) noexcept nogil:
    """For what the heap has grown by since it ended at `known`; where it ends now. At first `known` is NULL: from then
    on it grows in steps that are large enough.
    """
    cdef void *end = END_OF_HEAP()
    if known == NULL:
        GROW_HEAP_BY(HEAP_STEP)
    elif end > known:
        ADVISE(known, <uintptr_t>end - <uintptr_t>known)
    return end
