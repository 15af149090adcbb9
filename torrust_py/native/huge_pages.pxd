# cython: language_level=3
"""Huge pages for what holds a million peers. In pages of 4 KiB nearly every access to one misses the processor's
table of pages, which in a virtual machine costs as much as all else that is done for an announce.

These are hints to the kernel, which may be set not to heed them (/sys/kernel/mm/transparent_hugepage/enabled). Of
the heap they are given with a glibc only, whose heap has one end. (Its own thresholds, which change as it goes, end
with ours, and so does what the environment says of them.)
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
    #define USE_HEAP(step, largest) \
        ((void)mallopt(M_TOP_PAD, (step)), (void)mallopt(M_TRIM_THRESHOLD, 2 * (step)), \
         (void)mallopt(M_MMAP_THRESHOLD, (largest)))
    #else
    #define END_OF_HEAP() NULL
    #define USE_HEAP(step, largest) ((void)(step), (void)(largest))
    #endif
    #endif
    """
    void ADVISE(void *, size_t) noexcept nogil
    void *END_OF_HEAP() noexcept nogil
    void USE_HEAP(int step, int largest) noexcept nogil

cdef enum:
    PAGE = 0x1000
    LARGE_ARRAY = 0x400000
    HEAP_STEP = 0x800000


cdef inline void use_huge_pages(void *start, size_t size) noexcept nogil:
    """For an array that has this size now, if it is so large that it has memory of its own."""
    cdef uintptr_t first = <uintptr_t>start & ~<uintptr_t>(PAGE - 1)
    if size >= LARGE_ARRAY:
        ADVISE(<void *>first, <uintptr_t>start + size - first)


cdef struct Heap:
    # Huge pages were asked for from `start` to `end`. Both are NULL until then.
    void *start
    void *end


cdef inline void use_huge_pages_of_heap(Heap *heap) noexcept nogil:
    """For what the heap has grown by since this was called first. From then on it grows in steps that are large enough,
    and has all but large arrays, be they only kept for a moment: memory that comes anew each time costs the more the
    slower a machine is at making it.
    """
    cdef void *end = END_OF_HEAP()
    if heap.start == NULL:
        USE_HEAP(HEAP_STEP, LARGE_ARRAY)
        heap.start = end
    elif end != heap.end and end > heap.start:  # all of it: it may have shrunk in between
        ADVISE(heap.start, <uintptr_t>end - <uintptr_t>heap.start)
    heap.end = end
