# Outlives the test run by a moment. The run holds the other end of this script's stdin and names its children and its
# temporary folders; when that end closes, however the run ended (also by kill -9), everything named goes away.
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
# Every child leads a process group of its own, so that its own children go with it.
for child in $children; do
    kill -s KILL -- "-$child" 2>/dev/null
done
# A server that is just dying may still write into its folder: look again until it is gone.
for folder; do
    tries=0
    while [ -e "$folder" ] && [ "$tries" -lt 50 ]; do
        rm -rf "$folder" 2>/dev/null
        sleep 0.1
        tries=$((tries + 1))
    done
done
