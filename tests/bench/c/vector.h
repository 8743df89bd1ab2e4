/* What all floors share. A floor is written for gcc; it asks for vectors by plain loops over restrict pointers. */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
