#include "dispatcher/text/gsm.h"

#include <stddef.h>
#include <string.h>

/* The alphabet beyond ASCII, ascending; the Euro sign of the extension stands apart. */
static const uint16_t others[] = {
    0x00A1, 0x00A3, 0x00A4, 0x00A5, 0x00A7, 0x00BF, /* ¡ £ ¤ ¥ § ¿ */
    0x00C4, 0x00C5, 0x00C6, 0x00C7, 0x00C9, 0x00D1, /* Ä Å Æ Ç É Ñ */
    0x00D6, 0x00D8, 0x00DC, 0x00DF, 0x00E0, 0x00E4, /* Ö Ø Ü ß à ä */
    0x00E5, 0x00E6, 0x00E8, 0x00E9, 0x00EC, 0x00F1, /* å æ è é ì ñ */
    0x00F2, 0x00F6, 0x00F8, 0x00F9, 0x00FC,         /* ò ö ø ù ü */
    0x0393, 0x0394, 0x0398, 0x039B, 0x039E,         /* Γ Δ Θ Λ Ξ */
    0x03A0, 0x03A3, 0x03A6, 0x03A8, 0x03A9,         /* Π Σ Φ Ψ Ω */
};

#define EURO 0x20ACu

/* Of the controls only LF and CR are in the alphabet and FF in the extension; the grave accent is in neither.
 */
static unsigned ascii_weight(uint32_t code)
{
    if (code == '\n' || code == '\r')
        return 1;
    if (code == '\f' || (code != 0 && strchr("^{}\\[~]|", (int)code) != NULL))
        return 2;
    return code >= ' ' && code != '`' && code != 0x7F;
}

unsigned gsm_weight(uint32_t code)
{
    if (code < 0x80)
        return ascii_weight(code);
    if (code == EURO)
        return 2;
    for (size_t low = 0, high = sizeof others / sizeof others[0]; low < high;) {
        size_t middle = low + (high - low) / 2;
        if (others[middle] == code)
            return 1;
        if (others[middle] < code)
            low = middle + 1;
        else
            high = middle;
    }
    return 0;
}
