# Runs slightly longer than the test run, which holds the other end of this script's stdin and registers its children
# and temporary directories. When that end closes, even by kill -9, this script stops the children and removes the
# directories.
trap '' HUP INT TERM
cd /
children=''
while read -r verb what; do
    case $verb in
        child) children="$children $what" ;;
        reaped)
            kept=''
            for child in $children; do
                [ "$child" = "$what" ] || kept="$kept $child"
            done
            children=$kept
            ;;
        folder) set -- "$@" "$what" ;;
    esac
done
# Each child leads a process group, so that its children are killed too.
for child in $children; do
    kill -s KILL -- "-$child" 2>/dev/null
done
# A server that is being killed may still write to its directory: retry until the directory is removed.
for folder; do
    tries=0
    while [ -e "$folder" ] && [ "$tries" -lt 50 ]; do
        rm -rf "$folder" 2>/dev/null
        sleep 0.1
        tries=$((tries + 1))
    done
done
